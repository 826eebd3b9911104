"""What failed, and what is still under way: in an execution, or among all that came of one row.

What lies below a row is looked for from its end upward: failures and work under way are few, while a
row may have a million descendants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.row_search import execution_number, read_rows
from factflow_lineage.tables import rows, stages

MOST_FAILURES = 10_000
"""The latest this many failures are looked at."""
DEEPEST = 1_000

UnderWay = Literal["processing", "pending"]


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one stage with one class of error; `latest` is the row of the last one."""

    route_id: str
    stage: str
    error_type: str
    count: int
    latest: PipelineLineageEntry


async def read_failure_groups(
    connection: AsyncConnection,
    execution_id: str,
    *,
    route_id: str | None = None,
    below: int | None = None,
) -> tuple[FailureGroup, ...]:
    """Return the failures of an execution (or of one route, or below the row of a number), by stage
    and class of error, the largest group first."""
    c = rows.c
    failed = (
        sa.select(c.number)
        .where(*_in(execution_id, route_id), c.status == sa.literal_column("'failed'"))
        .order_by(c.completed_at.desc())
        .limit(MOST_FAILURES)
    )
    numbers = _narrowed(failed, below)
    error_type = c.error["type"].as_string()
    query = (
        sa.select(sa.func.count().label("count"), sa.func.max(c.number).label("latest"))
        .where(c.number.in_(sa.select(numbers.c.number)))
        .group_by(c.stage_number, error_type)
    )
    found = {row.latest: row.count for row in await connection.execute(query)}
    groups = [
        FailureGroup(
            row.entry.route_id,
            row.entry.stage,
            row.entry.error.type if row.entry.error is not None else "",
            found[row.number],
            row.entry,
        )
        for row in await read_rows(connection, list(found))
    ]
    return tuple(sorted(groups, key=lambda group: (-group.count, group.route_id, group.stage)))


async def read_under_way(
    connection: AsyncConnection,
    execution_id: str,
    status: UnderWay,
    *,
    route_id: str | None = None,
    below: int | None = None,
    limit: int = 3,
) -> tuple[PipelineLineageEntry, ...]:
    """Return rows of stages that began and have not ended (`processing`) or wait for another attempt
    (`pending`), the oldest first."""
    c = rows.c
    chosen = sa.select(c.number).where(
        *_in(execution_id, route_id),
        c.unfinished.is_not(None),
        c.status == sa.literal_column(f"'{status}'"),
    )
    if below is not None:
        chosen = sa.select(_narrowed(chosen.limit(MOST_FAILURES), below).c.number)
        chosen = sa.select(c.number).where(c.number.in_(chosen))
    oldest = chosen.order_by(c.started_at, c.number).limit(limit)
    numbers = list((await connection.execute(oldest)).scalars())
    entries = {row.number: row.entry for row in await read_rows(connection, numbers)}
    return tuple(entries[number] for number in numbers if number in entries)


def _in(execution_id: str, route_id: str | None) -> list[sa.ColumnElement[bool]]:
    number = execution_number(execution_id)
    found: list[sa.ColumnElement[bool]] = [rows.c.execution_number == number]
    if route_id is not None:
        of_route = sa.select(stages.c.number).where(
            stages.c.execution_number == number, stages.c.route_id == route_id
        )
        found.append(rows.c.stage_number.in_(of_route))
    return found


def _narrowed(chosen: sa.Select[int], below: int | None) -> sa.Subquery:
    """Return those of the chosen numbers whose rows lie below the row of a number; all without one."""
    first = chosen.subquery("chosen")
    if below is None:
        return first
    start = sa.select(
        rows.c.number.label("found"), rows.c.parent_number.label("above"), sa.literal(0).label("up")
    ).where(rows.c.number.in_(sa.select(first.c.number)))
    line = start.cte("line", recursive=True)
    parent = rows.alias("parent").c
    line = line.union_all(
        sa.select(line.c.found, parent.parent_number, line.c.up + 1).where(
            parent.number == line.c.above, line.c.up < DEEPEST
        )
    )
    return sa.select(line.c.found.label("number")).where(line.c.above == below).subquery("below")
