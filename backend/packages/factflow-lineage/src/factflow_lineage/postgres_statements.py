"""A batch's statements on PostgreSQL, through the driver itself.

SQLAlchemy's way through the same driver asks it twice for each statement and looks at each value, which
costs more than the database takes. Its greenlets are used: work that reads like a plain function lets the
event loop go on while a statement runs.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

ROWS_AT_A_TIME = 100
"""Making these takes some two milliseconds."""


class PostgresStatements:
    """Statements on a connection whose transaction has begun; inside `AsyncConnection.run_sync` only."""

    def __init__(self, connection: sa.Connection) -> None:
        pooled: Any = connection.connection.dbapi_connection
        self._run = pooled.run_async

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement and return the rows it gives."""
        text = _numbered(sql)
        return self._run(lambda driver: driver.fetch(text, *values))  # type: ignore[no-any-return]

    def fetch_in(self, sql: str, first: Sequence[Any], wanted: Iterable[Any]) -> list[Any]:
        """Return the rows of a query, each value looked for in the index by itself."""
        some = list(wanted)
        if not some:
            return []
        kind = "bytea" if isinstance(some[0], bytes) else "bigint"
        return self.fetch(_each(sql, kind), [some, *first])

    def run_each(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        """Run a statement once with each list of values; they are sent together."""
        if values:
            text = _numbered(sql)
            self._run(lambda driver: driver.executemany(text, values))

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert rows by COPY, letting the event loop go on now and then while they are made."""
        self._run(
            lambda driver: driver.copy_records_to_table(
                table, columns=columns, records=_with_pauses(rows)
            )
        )


async def _with_pauses(rows: Iterable[Sequence[Any]]) -> AsyncIterator[Sequence[Any]]:
    for number, row in enumerate(rows, start=1):
        yield row
        if number % ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)


@functools.cache
def _numbered(sql: str) -> str:
    """Return a statement as PostgreSQL wants it, its places numbered."""
    first, *others = sql.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(others, start=1))


@functools.cache
def _each(sql: str, kind: str) -> str:
    """Return a query over an array instead of a list of values: the same one however many they are, so
    that it is prepared once. `OFFSET 0` keeps the planner from turning it into a join, for which it
    would rather read a table of which it knows little from end to end."""
    one = sql.replace("IN ({})", "= wanted")
    return (
        f"SELECT found.* FROM unnest(?::{kind}[]) AS wanted "  # noqa: S608 - words of ours
        f"CROSS JOIN LATERAL ({one} OFFSET 0) AS found"
    )
