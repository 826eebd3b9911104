"""How many rows and messages, and how long they took: read from counters, never from rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.filters import LineageFilter
from factflow_lineage.histogram import quantile_ms
from factflow_lineage.tables import durations, executions, stages


@dataclass(frozen=True, slots=True)
class StageStats:
    """Rows of one stage. `count` includes rows in progress, `completed` those filtered. Averages and
    quantiles (within 9.1 %, see `histogram`) are over committed rows; None when there are none."""

    route_id: str
    stage: str
    adapter: str
    count: int
    completed: int
    failed: int
    filtered: int
    avg_duration_ms: float | None
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class RouteCounts:
    """Messages of one route, as far as lineage has seen them: a message is in progress from its
    first row until a row settles it. `avg_duration_ms` is stage time per settled message; the quantiles
    are of single rows, as in `StageStats`."""

    route_id: str
    total: int
    completed: int
    failed: int
    in_progress: int
    avg_duration_ms: float | None
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class ExecutionCounts:
    """Messages of an execution, in sum and by route (sorted by route)."""

    execution_id: str
    total: int
    completed: int
    failed: int
    in_progress: int
    routes: tuple[RouteCounts, ...]


async def read_stats(connection: AsyncConnection, execution_id: str) -> list[StageStats]:
    """Return the stages of an execution, sorted by route, stage and adapter."""
    histograms = await _histograms(connection, execution_id)
    c, of_execution = stages.c, executions.c.execution_id == execution_id
    found = await connection.execute(
        _stages().where(of_execution).order_by(c.route_id, c.stage, c.adapter)
    )
    return [_stage_stats(row, histograms[row.number]) for row in found if _rows_counted(row)]


async def read_counts(connection: AsyncConnection, execution_id: str) -> ExecutionCounts:
    """Return how many messages an execution's routes have seen and settled."""
    by_route: dict[str, Counter[str]] = defaultdict(Counter)
    histograms = await _histograms(connection, execution_id)
    durations_of: dict[str, Counter[int]] = defaultdict(Counter)
    found = await connection.execute(_stages().where(executions.c.execution_id == execution_id))
    for row in found:
        durations_of[row.route_id].update(histograms[row.number])
        by_route[row.route_id].update(
            completed=row.settled - row.failed,
            failed=row.failed,
            in_progress=row.pending + row.processing,
            duration_us=row.duration_us,
        )
    routes = tuple(
        _route_counts(route, by_route[route], durations_of[route]) for route in sorted(by_route)
    )
    return ExecutionCounts(
        execution_id,
        total=sum(route.total for route in routes),
        completed=sum(route.completed for route in routes),
        failed=sum(route.failed for route in routes),
        in_progress=sum(route.in_progress for route in routes),
        routes=routes,
    )


async def count_rows(connection: AsyncConnection, filters: LineageFilter) -> int:
    """Return how many rows match filters that are `counted`."""
    c = stages.c
    counted: sa.ColumnElement[int] = c.pending + c.processing + c.completed + c.failed + c.cancelled
    if filters.status == "completed":
        counted = c.completed - c.waiting
    elif filters.status == "processing":
        counted = c.processing + c.waiting
    elif filters.status is not None:
        counted = c[filters.status]
    query = sa.select(sa.func.coalesce(sa.func.sum(counted), 0)).select_from(stages)
    if filters.execution_id is not None:
        query = query.join(executions, executions.c.number == c.execution_number)
    found = await connection.execute(query.where(*filters.stage_conditions()))
    return int(found.scalar_one())


async def _histograms(connection: AsyncConnection, execution_id: str) -> dict[int, dict[int, int]]:
    """Return the durations of an execution's stages: rows by bucket, by the number of the stage."""
    histograms: dict[int, dict[int, int]] = defaultdict(dict)
    found = await connection.execute(
        sa.select(durations.c.stage_number, durations.c.bucket, durations.c.rows)
        .join(stages, stages.c.number == durations.c.stage_number)
        .join(executions, executions.c.number == stages.c.execution_number)
        .where(executions.c.execution_id == execution_id)
    )
    for stage_number, bucket, number in found:
        histograms[stage_number][bucket] = number
    return histograms


def _stages() -> sa.Select[Any]:
    return sa.select(stages).join(executions, executions.c.number == stages.c.execution_number)


def _rows_counted(row: Any) -> int:
    return int(row.pending + row.processing + row.completed + row.failed + row.cancelled)


def _stage_stats(row: Any, histogram: dict[int, int]) -> StageStats:
    committed = row.completed + row.failed
    return StageStats(
        route_id=row.route_id,
        stage=row.stage,
        adapter=row.adapter,
        count=_rows_counted(row),
        completed=row.completed,
        failed=row.failed,
        filtered=row.filtered,
        avg_duration_ms=row.duration_us / committed / 1000 if committed else None,
        p50_ms=quantile_ms(histogram, 0.5),
        p95_ms=quantile_ms(histogram, 0.95),
    )


def _route_counts(route: str, counts: Counter[str], histogram: Counter[int]) -> RouteCounts:
    settled = counts["completed"] + counts["failed"]
    return RouteCounts(
        route_id=route,
        total=settled + counts["in_progress"],
        completed=counts["completed"],
        failed=counts["failed"],
        in_progress=counts["in_progress"],
        avg_duration_ms=counts["duration_us"] / settled / 1000 if settled else None,
        p50_ms=quantile_ms(histogram, 0.5),
        p95_ms=quantile_ms(histogram, 0.95),
    )
