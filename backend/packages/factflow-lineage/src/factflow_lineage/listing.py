"""A page of rows, found through indexes whatever it is narrowed by (see `row_walk`).

The index in the order that fits is gone along: of one stage, of one execution, or of all rows. Where
several stages match, their first rows are merged. Only the rows of the page itself are read as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.cursor import decode, encode
from factflow_lineage.filters import LineageFilter
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.row_search import FoundRow, execution_number, read_rows
from factflow_lineage.row_walk import Conditions, Walk, walk
from factflow_lineage.stats import count_rows
from factflow_lineage.tables import executions, overall, rows, stages

MERGED_STAGES = 30
"""More stages than these are looked for among all rows."""
COUNT_LIMIT = 10_000
"""More rows than these are not counted one by one."""
ROWS_PER_SELECT = 1_000
FAILED_ORDER, CHILDREN_ORDER = "failed", "children"


@dataclass(frozen=True, slots=True)
class LineagePage:
    """A part of a listing; `total` rows match in all, None where that would take counting very many.

    `scanned` rows were looked at. `next_cursor` leads on, None at the end: a page may hold fewer rows than
    asked for, or none, while there are more to be looked at.
    """

    entries: tuple[PipelineLineageEntry, ...]
    total: int | None
    limit: int
    offset: int
    scanned: int = 0
    next_cursor: str | None = None

    @property
    def has_more(self) -> bool:
        """Tell whether rows may follow this page."""
        return self.next_cursor is not None


async def list_rows(connection: AsyncConnection, filters: LineageFilter) -> LineagePage:
    """Return the rows that match, by start; those of the same start as they were first written."""
    total = await count_rows(connection, filters) if filters.counted else None
    way = await way_by_start(connection, filters)
    if total is None and not way.looked:
        total = await _count(connection, way)
    if total == 0 or not way.scopes or (total is not None and filters.offset >= total):
        return LineagePage((), total or 0, filters.limit, filters.offset)
    return await _page(connection, way, filters.limit, filters.offset, total)


async def list_failures(connection: AsyncConnection, filters: LineageFilter) -> LineagePage:
    """Return the failed rows that match, the latest failure first; times are those of failing."""
    scope: Conditions = []
    if filters.execution_id is not None:
        scope = [rows.c.execution_number == execution_number(filters.execution_id)]
    failed_at = rows.c.completed_at if scope else overall(rows.c.completed_at)
    indexed: list[sa.ColumnElement[bool]] = [rows.c.status == sa.literal_column("'failed'")]
    if filters.started_after is not None:
        indexed.append(failed_at >= filters.started_after)
    if filters.started_before is not None:
        indexed.append(failed_at <= filters.started_before)
    looked = filters.content_conditions()
    if filters.names_stages:
        looked.append(rows.c.stage_number.in_(_stages_named(filters)))
    way = Walk(
        scopes=[scope],
        indexed=indexed,
        looked=looked,
        order=FAILED_ORDER,
        sorted_by=failed_at,
        descending=True,
        after=filters.position(FAILED_ORDER),
    )
    if filters.counted:
        total: int | None = await count_rows(connection, replace(filters, status="failed"))
    else:
        total = None if looked else await _count(connection, way)
    return await _page(connection, way, filters.limit, filters.offset, total)


async def list_children(
    connection: AsyncConnection, parent: FoundRow, *, limit: int, offset: int, cursor: str | None
) -> LineagePage:
    """Return the rows that name one as their parent, in the order they were first written."""
    way = Walk(
        scopes=[[rows.c.parent_number == parent.number]],
        indexed=[],
        order=CHILDREN_ORDER,
        sorted_by=rows.c.parent_number,
        after=None if cursor is None else decode(CHILDREN_ORDER, cursor),
    )
    total = await _count(connection, way)
    return await _page(connection, way, limit, offset, total)


async def way_by_start(connection: AsyncConnection, filters: LineageFilter) -> Walk:
    """Return how the rows are found that a listing by start shows."""
    scopes: list[Conditions] = [[]]
    looked: list[sa.ColumnElement[bool]] = []
    within = filters.execution_id is not None
    if filters.names_stages:
        found = (await connection.execute(_stages_named(filters).limit(MERGED_STAGES + 1))).all()
        if len(found) > MERGED_STAGES or (found and within and filters.finds_few):
            # The few of an execution have an index of theirs, which knows no stages.
            looked.append(rows.c.stage_number.in_(_stages_named(filters)))
        else:
            scopes = [[rows.c.stage_number == stage] for (stage,) in found]
    if within and (looked or not filters.names_stages):
        of = sa.select(executions.c.number).where(*filters.stage_conditions(named=False))
        number = (await connection.execute(of)).scalar()
        scopes = [] if number is None else [[rows.c.execution_number == number]]
    by_execution = within and (bool(looked) or not filters.names_stages)
    start: sa.ColumnElement[float] = rows.c.started_at
    if scopes == [[]] and filters.batch_id is None and filters.message_id is None:
        start = overall(start)
    return Walk(
        scopes=scopes,
        indexed=filters.indexed_conditions(start, within_executions=by_execution),
        looked=[*looked, *filters.looked_conditions(within_executions=by_execution)],
        order=filters.order,
        sorted_by=start,
        descending=filters.sort_order == "desc",
        after=filters.position(filters.order),
    )


def _stages_named(filters: LineageFilter) -> sa.Select[int]:
    """Return the query of the numbers of the stages that are asked for."""
    joined = sa.select(stages.c.number).join(
        executions, executions.c.number == stages.c.execution_number
    )
    return joined.where(*filters.stage_conditions())


async def _count(connection: AsyncConnection, way: Walk) -> int | None:
    """Return how many rows a walk without conditions to look at meets from its start on; None for more
    than `COUNT_LIMIT`."""
    total = 0
    for scope in way.scopes:
        some = sa.select(rows.c.number).where(*scope, *way.indexed).limit(COUNT_LIMIT + 1 - total)
        query = sa.select(sa.func.count()).select_from(some.subquery())
        total += int((await connection.execute(query)).scalar_one())
        if total > COUNT_LIMIT:
            return None
    return total


async def _page(
    connection: AsyncConnection, way: Walk, limit: int, offset: int, total: int | None
) -> LineagePage:
    found = await walk(connection, way, limit=limit, offset=offset)
    if total is None and found.next is None and way.after is None:
        total = found.passed + len(found.numbers)  # the whole way was gone
    entries = await _read(connection, found.numbers)
    cursor = None if found.next is None else encode(way.order, found.next)
    return LineagePage(entries, total, limit, offset, found.scanned, cursor)


async def _read(
    connection: AsyncConnection, numbers: Sequence[int]
) -> tuple[PipelineLineageEntry, ...]:
    """Return the rows found, whole and in their order."""
    place = {number: position for position, number in enumerate(numbers)}
    entries: list[tuple[int, PipelineLineageEntry]] = []
    for start in range(0, len(numbers), ROWS_PER_SELECT):
        some = numbers[start : start + ROWS_PER_SELECT]
        entries += [(place[row.number], row.entry) for row in await read_rows(connection, some)]
    entries.sort(key=lambda placed: placed[0])
    return tuple(entry for _, entry in entries)
