"""Counts per (execution, route, stage, adapter), moved when a row changes its status."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.histogram import bucket_of, microseconds
from factflow_lineage.models import PipelineLineageEntry, StageStatus
from factflow_lineage.tables import counters, durations


class StageOfExecution(NamedTuple):
    """What a row of counters is about."""

    execution_id: str
    route_id: str
    stage: str
    adapter: str


class CounterMoves:
    """The changes one batch makes, summed up before they are written."""

    def __init__(self) -> None:
        self._counts: dict[StageOfExecution, Counter[str]] = defaultdict(Counter)
        self._buckets: Counter[tuple[StageOfExecution, int]] = Counter()

    def leave(self, stage: StageOfExecution, status: StageStatus) -> None:
        """Take out a row that is being replaced; only uncommitted rows ever are."""
        self._counts[stage][status] -= 1

    def enter(self, entry: PipelineLineageEntry) -> None:
        """Count a row in as it is written."""
        stage = StageOfExecution(entry.execution_id, entry.route_id, entry.stage, entry.adapter)
        counts = self._counts[stage]
        counts[entry.status] += 1
        if not entry.committed:
            return
        duration = microseconds(entry.duration_ms)
        counts["filtered"] += entry.outcome == "filtered"
        counts["settled"] += not entry.continues
        counts["duration_us"] += round(duration)
        self._buckets[stage, bucket_of(duration)] += 1

    async def write(self, connection: AsyncConnection) -> None:
        """Add the changes to what stands, in two statements."""
        names = [column.name for column in counters.c if not column.primary_key]
        counts = [
            {**stage._asdict(), **{name: moved[name] for name in names}}
            for stage, moved in sorted(self._counts.items())
            if any(moved.values())
        ]
        buckets = [
            {**stage._asdict(), "bucket": bucket, "number": number}
            for (stage, bucket), number in sorted(self._buckets.items())
        ]
        await _add(connection, counters, counts)
        await _add(connection, durations, buckets)


async def _add(
    connection: AsyncConnection, table: sa.Table, values: Sequence[dict[str, Any]]
) -> None:
    if not values:
        return
    insert = insert_for(connection.dialect, table)
    added = {
        column.name: column + insert.excluded[column.name]
        for column in table.c
        if not column.primary_key
    }
    keys = list(table.primary_key.columns)
    await connection.execute(
        insert.on_conflict_do_update(index_elements=keys, set_=added), list(values)
    )


def insert_for(dialect: sa.Dialect, table: sa.Table) -> sqlite.dml.Insert | postgresql.dml.Insert:
    """Return the insert that knows `ON CONFLICT`; SQLAlchemy has one per database, alike in use."""
    if dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
