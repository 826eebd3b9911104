"""SQL inside the writer's transaction, run where the driver runs it: one hop for a whole batch.

Everything a batch asks and says is plain SQL that SQLite and PostgreSQL both know, with `?` for values.
The batch itself is ordinary synchronous code; on SQLite it runs in the thread of the driver, so that the
event loop neither prepares values nor waits between statements.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, TypeVar

import aiosqlite
from sqlalchemy.ext.asyncio import AsyncConnection

ResultT = TypeVar("ResultT")

VALUES_PER_STATEMENT = 2_700
"""SQLite takes 32,766 values at most, and PostgreSQL about as many; larger ones gain nothing."""


class Statements(Protocol):
    """What a batch needs of a connection in a transaction. Raises what the driver raises."""

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return the rows it gives."""

    def run_each(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement once with each list of values."""


class SQLiteStatements:
    """Statements on a connection of the standard library; belongs to that connection's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return the rows it gives."""
        return self._connection.execute(sql, values).fetchall()

    def run_each(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement once with each list of values."""
        self._connection.executemany(sql, values)


async def in_transaction(
    connection: AsyncConnection, work: Callable[[Statements], ResultT]
) -> ResultT:
    """Run `work` with the statements of a connection whose transaction is open, and return its result.

    Raises NotImplementedError for a driver that no `Statements` were written for.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, aiosqlite.Connection):
        raise NotImplementedError(f"lineage cannot be written through {type(driver).__name__}")
    # Its public methods hop for each statement.
    return await driver._execute(lambda: work(SQLiteStatements(driver._conn)))  # type: ignore[no-any-return,no-untyped-call]


def insert_many(
    statements: Statements, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert rows, many with each statement: half the work of one by one. Rows are taken as they are
    needed, so that making them takes turns with the database."""
    at_a_time = max(1, VALUES_PER_STATEMENT // len(columns))
    place = f"({', '.join('?' * len(columns))})"
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 - names of ours
    for some in chunks(rows, at_a_time):
        values = list(chain.from_iterable(some))
        statements.fetch(head + ", ".join([place] * len(some)), values)


def fetch_in(
    statements: Statements, sql: str, first: Sequence[Any], wanted: Iterable[Any]
) -> Iterator[tuple[Any, ...]]:
    """Return the rows of a query whose `{}` is replaced by places for what is wanted."""
    for some in chunks(wanted, VALUES_PER_STATEMENT):
        yield from statements.fetch(sql.format(", ".join("?" * len(some))), [*first, *some])


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Return items in lists of a size, the last one shorter."""
    some: list[Any] = []
    for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
