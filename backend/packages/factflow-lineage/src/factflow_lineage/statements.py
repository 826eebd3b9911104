"""SQL inside the writer's transaction: a batch is ordinary synchronous code, whatever the database.

Everything it asks and says is plain SQL that SQLite and PostgreSQL both know, with `?` for values. On
SQLite it runs in the thread of the driver: one hop for a whole batch, and the event loop neither prepares
values nor waits between statements. On PostgreSQL it runs in the loop and lets others run while the
database answers, see `postgres_statements`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.postgres_statements import PostgresStatements

ResultT = TypeVar("ResultT")

VALUES_PER_STATEMENT = 2_700
"""SQLite takes 32,766 values at most; larger statements gain nothing."""


class Statements(Protocol):
    """What a batch needs of a connection in a transaction. Raises what the driver raises."""

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement and return the rows it gives, as tuples."""

    def fetch_in(self, sql: str, first: Sequence[Any], wanted: Iterable[Any]) -> Iterable[Any]:
        """Return the rows of a query whose condition `IN ({})` is about any number of different values."""

    def run_each(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement once with each list of values."""

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert rows, many at a time. They are taken as they are needed, so that making them takes
        turns with the database."""


class SQLiteStatements:
    """Statements on a connection of the standard library; belongs to that connection's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement and return the rows it gives."""
        return self._connection.execute(sql, values).fetchall()

    def fetch_in(self, sql: str, first: Sequence[Any], wanted: Iterable[Any]) -> Iterator[Any]:
        """Return the rows of a query, asked for some values at a time."""
        for some in _chunks(wanted, VALUES_PER_STATEMENT):
            yield from self.fetch(sql.format(", ".join("?" * len(some))), [*first, *some])

    def run_each(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement once with each list of values."""
        self._connection.executemany(sql, values)

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert rows, many with each statement: half the work of one by one."""
        at_a_time = max(1, VALUES_PER_STATEMENT // len(columns))
        place = f"({', '.join('?' * len(columns))})"
        head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 - names of ours
        for some in _chunks(rows, at_a_time):
            values = list(chain.from_iterable(some))
            self.fetch(head + ", ".join([place] * len(some)), values)


async def in_transaction(
    connection: AsyncConnection, work: Callable[[Statements], ResultT]
) -> ResultT:
    """Run `work` with the statements of a connection whose transaction is open, and return its result.

    Raises what `work` and the driver raise.
    """
    if connection.dialect.name == "sqlite":
        driver = (await connection.get_raw_connection()).driver_connection
        # Its public methods hop for each statement.
        return await driver._execute(lambda: work(SQLiteStatements(driver._conn)))  # type: ignore[union-attr, no-any-return]

    def in_loop(opened: Connection) -> ResultT:
        return work(PostgresStatements(opened))

    return await connection.run_sync(in_loop)


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Return items in lists of a size, the last one shorter."""
    some: list[Any] = []
    for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
