"""Counts and durations of the rows that match a filter, by route, stage and adapter.

What counters tell is read from counters: any place, in one execution or over all of them. A status or a time
they do not tell apart; for those the rows are gone through, along the index that a listing would use.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.filters import LineageFilter
from factflow_lineage.histogram import bucket_of, quantile_ms
from factflow_lineage.listing import way_by_start
from factflow_lineage.models import COMMITTED
from factflow_lineage.stats import StageStats
from factflow_lineage.tables import durations, executions, rows, stages

LONGEST_DIGITS = 16
_PLACE = (stages.c.route_id, stages.c.stage, stages.c.adapter)

Place = tuple[str, str, str]


@dataclass(slots=True)
class _Total:
    """Sums of one place: rows by what became of them, microseconds, and rows by bucket of duration."""

    counts: Counter[str] = field(default_factory=Counter)
    duration_us: float = 0.0
    histogram: Counter[int] = field(default_factory=Counter)

    def stats(self, place: Place) -> StageStats:
        """Return the sums as statistics of a stage."""
        route_id, stage, adapter = place
        counts = self.counts
        committed = counts["completed"] + counts["failed"]
        return StageStats(
            route_id=route_id,
            stage=stage,
            adapter=adapter,
            count=counts["count"],
            completed=counts["completed"],
            failed=counts["failed"],
            filtered=counts["filtered"],
            avg_duration_ms=self.duration_us / committed / 1000 if committed else None,
            p50_ms=quantile_ms(self.histogram, 0.5),
            p95_ms=quantile_ms(self.histogram, 0.95),
        )


Totals = defaultdict[Place, _Total]


async def read_totals(connection: AsyncConnection, filters: LineageFilter) -> list[StageStats]:
    """Return the places that have rows which match, sorted. `count` are the rows that match, `completed` and
    `failed` those of them that are committed. Looks at rows for a status or a time; their quantiles are
    within 10 %."""
    totals: Totals = defaultdict(_Total)
    if filters.counted and filters.status is None:
        await _add_counted(connection, filters, totals)
    else:
        await _add_rows(connection, filters, totals)
    return [totals[place].stats(place) for place in sorted(totals) if totals[place].counts["count"]]


async def _add_counted(connection: AsyncConnection, filters: LineageFilter, totals: Totals) -> None:
    c = stages.c
    every = c.pending + c.processing + c.completed + c.failed + c.cancelled
    summed = {
        "count": every,
        "completed": c.completed,
        "failed": c.failed,
        "filtered": c.filtered,
        "duration_us": c.duration_us,
    }
    conditions = filters.stage_conditions()
    of_executions = executions.c.number == c.execution_number
    query = sa.select(*_PLACE, *(sa.func.sum(one).label(name) for name, one in summed.items()))
    found = await connection.execute(
        query.join(executions, of_executions).where(*conditions).group_by(*_PLACE)
    )
    for row in found:
        total = totals[row.route_id, row.stage, row.adapter]
        total.counts.update({name: int(getattr(row, name)) for name in summed})
        total.duration_us = float(total.counts.pop("duration_us"))
    buckets = (
        sa.select(*_PLACE, durations.c.bucket, sa.func.sum(durations.c.rows).label("number"))
        .join(stages, c.number == durations.c.stage_number)
        .join(executions, of_executions)
        .where(*conditions)
        .group_by(*_PLACE, durations.c.bucket)
    )
    for row in await connection.execute(buckets):
        totals[row.route_id, row.stage, row.adapter].histogram[row.bucket] += int(row.number)


async def _add_rows(connection: AsyncConnection, filters: LineageFilter, totals: Totals) -> None:
    way = await way_by_start(connection, filters)
    c = rows.c
    kept = (c.stage_number, c.status, c.outcome)
    query = sa.select(
        *kept,
        _three_digits(c.duration_ms * 1000).label("us"),
        sa.func.count().label("number"),
        sa.func.sum(c.duration_ms).label("duration_ms"),
    ).group_by(*kept, "us")
    grouped: list[sa.Row[Any]] = []
    for scope in way.scopes:
        conditions = (*scope, *way.indexed, *way.looked)
        grouped += (await connection.execute(query.where(*conditions))).all()
    places = await _places(connection, {row.stage_number for row in grouped})
    for row in grouped:
        total = totals[places[row.stage_number]]
        total.counts["count"] += row.number
        if row.status not in COMMITTED:
            continue
        total.counts[row.status] += row.number
        if row.outcome == "filtered":
            total.counts["filtered"] += row.number
        total.duration_us += (row.duration_ms or 0.0) * 1000
        total.histogram[bucket_of(float(row.us or 0))] += row.number


async def _places(connection: AsyncConnection, numbers: Iterable[int]) -> dict[int, Place]:
    query = sa.select(stages.c.number, *_PLACE).where(stages.c.number.in_(numbers))
    return {
        number: (route_id, stage, adapter)
        for number, route_id, stage, adapter in await connection.execute(query)
    }


def _three_digits(number: sa.ColumnElement[float]) -> sa.ColumnElement[int]:
    """Return a number cut to its first three digits: few different ones for the database to group by, in
    words that every database has."""
    whole = sa.cast(number, sa.BigInteger)
    steps = [
        (whole < 10**digits, whole - whole % 10 ** (digits - 3))
        for digits in range(4, LONGEST_DIGITS + 1)
    ]
    return sa.case((whole < 1000, whole), *steps, else_=whole)
