"""Questions about lineage, answered on the reading engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_foundation.whole import whole
from factflow_lineage import outcome_log
from factflow_lineage.chain import LineageChain, read_chain
from factflow_lineage.database_file import DatabaseFile
from factflow_lineage.errors import LineageUnavailableError
from factflow_lineage.filters import LineageFilter, check_page
from factflow_lineage.listing import LineagePage, list_children, list_failures, list_rows
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.outcome_log import PAGE, OutcomePage
from factflow_lineage.row_search import find_row, look_for_rows
from factflow_lineage.stage_totals import read_totals
from factflow_lineage.stats import (
    ExecutionCounts,
    StageStats,
    read_counts,
    read_stats,
)
from factflow_lineage.unsettled import (
    FailureGroup,
    UnderWay,
    read_failure_groups,
    read_under_way,
)


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
        prepare = _fold_all_letters if engine.dialect.name == "sqlite" else _plan_for_few_rows
        sa.event.listen(engine.sync_engine, "connect", prepare)

    async def list(self, filters: LineageFilter | None = None) -> LineagePage:
        """Return the rows that match, by start; those of the same start as they were first written."""
        async with self._reading() as connection:
            return await list_rows(connection, filters or LineageFilter())

    async def get(self, wanted: str) -> PipelineLineageEntry:
        """Return one row."""
        async with self._reading() as connection:
            return (await find_row(connection, wanted)).entry

    async def of_execution(
        self, execution_id: str, ids: Sequence[str]
    ) -> dict[str, PipelineLineageEntry]:
        """Return those rows of an execution that are among some ids, by id. Meant for some hundreds."""
        async with self._reading() as connection:
            return {
                row.entry.id: row.entry
                for row in await look_for_rows(connection, execution_id, ids)
            }

    async def chain(self, wanted: str, *, across_replays: bool = False) -> LineageChain:
        """Return a row with its ancestors and descendants, within its execution; `across_replays`
        goes up into the executions it was replayed from."""
        async with self._reading() as connection:
            row = await find_row(connection, wanted)
            return await read_chain(connection, row, across_replays=across_replays)

    async def children(
        self, wanted: str, *, limit: int = 1000, offset: int = 0, cursor: str | None = None
    ) -> LineagePage:
        """Return the rows that name this one as their parent, in the order they were first written."""
        check_page(limit, offset, cursor)
        async with self._reading() as connection:
            row = await find_row(connection, wanted)
            return await list_children(connection, row, limit=limit, offset=offset, cursor=cursor)

    async def failures(self, filters: LineageFilter | None = None) -> LineagePage:
        """Return the failed rows that match, the latest failure first. The times of the filter are those
        of failing; its status, order, message, batch and roots do not count."""
        async with self._reading() as connection:
            return await list_failures(connection, filters or LineageFilter())

    async def failure_groups(
        self, execution_id: str, *, route_id: str | None = None, below: str | None = None
    ) -> tuple[FailureGroup, ...]:
        """Return failures by stage and class of error, the largest group first: of an execution, of one
        of its routes, or of all that came of the row `below`."""
        async with self._reading() as connection:
            number = None if below is None else (await find_row(connection, below)).number
            return await read_failure_groups(
                connection, execution_id, route_id=route_id, below=number
            )

    async def under_way(
        self,
        execution_id: str,
        status: UnderWay,
        *,
        route_id: str | None = None,
        below: str | None = None,
        limit: int = 3,
    ) -> tuple[PipelineLineageEntry, ...]:
        """Return rows of stages that began and did not end (`processing`), or that wait for another
        attempt (`pending`), the oldest first; narrowed like `failure_groups`."""
        async with self._reading() as connection:
            number = None if below is None else (await find_row(connection, below)).number
            return await read_under_way(
                connection, execution_id, status, route_id=route_id, below=number, limit=limit
            )

    async def stats(self, execution_id: str) -> tuple[StageStats, ...]:
        """Return counts and durations per stage; empty for an execution without rows."""
        async with self._reading() as connection:
            return tuple(await read_stats(connection, execution_id))

    async def totals(self, filters: LineageFilter) -> tuple[StageStats, ...]:
        """Return counts and durations by stage of the rows that match, over all executions unless it names
        one. Only a status or a time has rows looked at, all that match; its page does not count."""
        async with self._reading() as connection:
            return tuple(await read_totals(connection, filters))

    async def counts(self, execution_id: str) -> ExecutionCounts:
        """Return how many messages were seen and settled, per route and in sum."""
        async with self._reading() as connection:
            return await read_counts(connection, execution_id)

    async def outcomes(
        self, execution_id: str, after: int, *, route_id: str | None = None, limit: int = PAGE
    ) -> OutcomePage:
        """Return committed outcomes in the order in which they were written, behind one of them."""

        async def read() -> OutcomePage:
            async with self._reading() as connection:
                return await outcome_log.read_page(
                    connection, execution_id, after, route_id=route_id, limit=limit
                )

        return await whole(read())

    async def outcome_place(self, execution_id: str, name: str | None) -> tuple[int, str]:
        """Return the number and name of a place among an execution's outcomes; None is the last one.

        Raises `EventUnknownError`.
        """
        async with self._reading() as connection:
            if name is None:
                return await outcome_log.last_place(connection, execution_id)
            return await outcome_log.find_place(connection, execution_id, name), name

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


def _plan_for_few_rows(connection: Any, _record: Any) -> None:
    """Tell PostgreSQL to plan each question anew, and for few rows that are found by index, as all of ours
    are: it takes recursive queries to find thousands. Planning costs less than a millisecond; a plan made
    while the tables were small, or one that reads a table or an index from end to end, may cost a second. So
    does compiling plans, and any that has to use what is switched off seems large enough for it."""
    ways = ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "material")
    settings = [
        *("plan_cache_mode = force_custom_plan", "jit = off"),
        *("max_parallel_workers_per_gather = 0", *(f"enable_{way} = off" for way in ways)),
    ]
    statements = "; ".join(f"SET {setting}" for setting in settings)
    connection.run_async(lambda driver: driver.execute(statements))


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
