"""How many rows and messages, and how long they took: read from counters, never from rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.filters import COUNTED_FILTERS, LineageFilter
from factflow_lineage.histogram import quantile_ms
from factflow_lineage.tables import counters, durations


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
    first row until a row settles it. `avg_duration_ms` is stage time per settled message."""

    route_id: str
    total: int
    completed: int
    failed: int
    in_progress: int
    avg_duration_ms: float | None


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
    histograms: dict[tuple[str, str, str], dict[int, int]] = defaultdict(dict)
    found = await connection.execute(
        sa.select(durations).where(durations.c.execution_id == execution_id)
    )
    for row in found:
        histograms[row.route_id, row.stage, row.adapter][row.bucket] = row.number
    found = await connection.execute(
        sa.select(counters)
        .where(counters.c.execution_id == execution_id)
        .order_by(counters.c.route_id, counters.c.stage, counters.c.adapter)
    )
    return [
        _stage_stats(row, histograms[row.route_id, row.stage, row.adapter])
        for row in found
        if _rows_counted(row)
    ]


async def read_counts(connection: AsyncConnection, execution_id: str) -> ExecutionCounts:
    """Return how many messages an execution's routes have seen and settled."""
    by_route: dict[str, Counter[str]] = defaultdict(Counter)
    found = await connection.execute(
        sa.select(counters).where(counters.c.execution_id == execution_id)
    )
    for row in found:
        by_route[row.route_id].update(
            completed=row.settled - row.failed,
            failed=row.failed,
            in_progress=row.pending + row.processing,
            duration_us=row.duration_us,
        )
    routes = tuple(_route_counts(route, by_route[route]) for route in sorted(by_route))
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
    c = counters.c
    given = {name: getattr(filters, name) for name in COUNTED_FILTERS}
    total = c.pending + c.processing + c.completed + c.failed + c.cancelled
    found = await connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(total), 0)).where(
            *(c[name] == value for name, value in given.items() if value is not None)
        )
    )
    return int(found.scalar_one())


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


def _route_counts(route: str, counts: Counter[str]) -> RouteCounts:
    settled = counts["completed"] + counts["failed"]
    return RouteCounts(
        route_id=route,
        total=settled + counts["in_progress"],
        completed=counts["completed"],
        failed=counts["failed"],
        in_progress=counts["in_progress"],
        avg_duration_ms=counts["duration_us"] / settled / 1000 if settled else None,
    )
