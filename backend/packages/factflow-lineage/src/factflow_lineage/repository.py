"""Questions about lineage, answered on the reading engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_lineage.chain import LineageChain, read_chain
from factflow_lineage.database_file import DatabaseFile
from factflow_lineage.errors import LineageNotFoundError, LineageUnavailableError
from factflow_lineage.filters import LineageFilter, check_page
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.stats import (
    ExecutionCounts,
    StageStats,
    count_rows,
    read_counts,
    read_stats,
)
from factflow_lineage.tables import entry_from_row, rows


@dataclass(frozen=True, slots=True)
class LineagePage:
    """A part of a listing; `total` rows match in all."""

    entries: tuple[PipelineLineageEntry, ...]
    total: int
    limit: int
    offset: int

    @property
    def has_more(self) -> bool:
        """Tell whether rows follow this page."""
        return self.offset + len(self.entries) < self.total


class PipelineLineageRepository:
    """Reads rows and counters; never writes.

    Every row comes with its effective status: a completed row whose children are unfinished reads
    "processing". An id may be a row's or a message's, which stands for the message's furthest row.
    Raises `LineageNotFoundError` for an unknown id and `LineageUnavailableError` when the database
    does not answer.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._file = DatabaseFile(engine)
        self._file_identity = self._file.identity()
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine.sync_engine, "connect", _fold_all_letters)

    async def list(self, filters: LineageFilter | None = None) -> LineagePage:
        """Return the rows that match, ordered by start and id."""
        filters = filters or LineageFilter()
        conditions = filters.conditions()
        order: list[Any] = [rows.c.started_at, rows.c.id]
        if filters.sort_order == "desc":
            order = [column.desc() for column in order]
        async with self._reading() as connection:
            if filters.counted:
                total = await count_rows(connection, filters)
            else:
                total = await _count(connection, conditions)
            chosen = _select(conditions, order, filters.limit, filters.offset)
            return LineagePage(
                await _entries(connection, chosen), total, filters.limit, filters.offset
            )

    async def get(self, wanted: str) -> PipelineLineageEntry:
        """Return one row."""
        async with self._reading() as connection:
            return await _find(connection, wanted)

    async def chain(self, wanted: str, *, across_replays: bool = False) -> LineageChain:
        """Return a row with its ancestors and descendants, within its execution; `across_replays`
        goes up into the executions it was replayed from."""
        async with self._reading() as connection:
            entry = await _find(connection, wanted)
            return await read_chain(connection, entry, across_replays=across_replays)

    async def children(self, wanted: str, *, limit: int = 1000, offset: int = 0) -> LineagePage:
        """Return the rows that name this one as their parent, ordered by start and id."""
        check_page(limit, offset)
        async with self._reading() as connection:
            entry = await _find(connection, wanted)
            conditions = [
                rows.c.parent_id == entry.id,
                rows.c.execution_id == entry.execution_id,
            ]
            total = await _count(connection, conditions)
            order = [rows.c.started_at, rows.c.id]
            chosen = _select(conditions, order, limit, offset)
            return LineagePage(await _entries(connection, chosen), total, limit, offset)

    async def failures(
        self, execution_id: str | None = None, *, limit: int = 100, offset: int = 0
    ) -> LineagePage:
        """Return failed rows, the latest failure first."""
        check_page(limit, offset)
        conditions = [rows.c.status == sa.literal_column("'failed'")]  # a literal finds the index
        if execution_id is not None:
            conditions.append(rows.c.execution_id == execution_id)
        order = [rows.c.completed_at.desc(), rows.c.id.desc()]
        async with self._reading() as connection:
            total = await _count(connection, conditions)
            chosen = _select(conditions, order, limit, offset)
            return LineagePage(await _entries(connection, chosen), total, limit, offset)

    async def stats(self, execution_id: str) -> tuple[StageStats, ...]:
        """Return counts and durations per stage; empty for an execution without rows."""
        async with self._reading() as connection:
            return tuple(await read_stats(connection, execution_id))

    async def counts(self, execution_id: str) -> ExecutionCounts:
        """Return how many messages were seen and settled, per route and in sum."""
        async with self._reading() as connection:
            return await read_counts(connection, execution_id)

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            await self._let_go_of_lost_file()
            async with self._engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise LineageUnavailableError(error) from error

    async def _let_go_of_lost_file(self) -> None:
        """Close connections to a file that is no longer the one of its name: they still read it."""
        identity = self._file.identity()
        if identity != self._file_identity:
            self._file_identity = identity
            await self._engine.dispose()


def _fold_all_letters(connection: Any, _record: Any) -> None:
    """Make SQLite's `lower` know all letters; its own folds ASCII only."""
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


async def _find(connection: AsyncConnection, wanted: str) -> PipelineLineageEntry:
    asked = wanted.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    row = (await connection.execute(sa.select(rows).where(rows.c.id == asked))).first()
    if row is not None:
        return entry_from_row(row)
    found = await connection.execute(sa.select(rows).where(rows.c.message_id == asked))
    of_message = [entry_from_row(row) for row in found]
    if not of_message:
        raise LineageNotFoundError(wanted)
    passed = {entry.parent_id for entry in of_message}
    furthest = [entry for entry in of_message if entry.id not in passed] or of_message
    return max(furthest, key=lambda entry: (entry.started_at, entry.id))


async def _count(connection: AsyncConnection, conditions: list[sa.ColumnElement[bool]]) -> int:
    found = await connection.execute(
        sa.select(sa.func.count()).select_from(rows).where(*conditions)
    )
    return int(found.scalar_one())


def _select(
    conditions: list[sa.ColumnElement[bool]], order: list[Any], limit: int, offset: int
) -> sa.Select[Any]:
    return sa.select(rows).where(*conditions).order_by(*order).limit(limit).offset(offset)


async def _entries(
    connection: AsyncConnection, chosen: sa.Select[Any]
) -> tuple[PipelineLineageEntry, ...]:
    return tuple(entry_from_row(row) for row in await connection.execute(chosen))
