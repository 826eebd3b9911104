"""Where a row came from and what became of it: recursive queries over `parent_id`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.tables import entry_from_row, rows

CHAIN_LIMIT = 1000
"""At most this many ancestors, and as many descendants, are returned."""

ROWS_PER_SELECT = 500


@dataclass(frozen=True, slots=True)
class Descendant:
    """A row below another; its children have depth 1."""

    depth: int
    entry: PipelineLineageEntry


@dataclass(frozen=True, slots=True)
class LineageChain:
    """`ancestors` root first; `descendants` breadth first, by start within a depth. `truncated` tells
    that there are more than `CHAIN_LIMIT` of either."""

    entry: PipelineLineageEntry
    ancestors: tuple[PipelineLineageEntry, ...]
    descendants: tuple[Descendant, ...]
    truncated: bool


async def read_chain(
    connection: AsyncConnection, entry: PipelineLineageEntry, *, across_replays: bool
) -> LineageChain:
    """Walk up and down from a row, within its execution; with `across_replays` upward also into the
    executions it was replayed from."""
    up = await _depths(connection, entry, _ancestors(entry, across_replays=across_replays))
    down = await _depths(connection, entry, _descendants(entry))
    truncated = len(up) > CHAIN_LIMIT or len(down) > CHAIN_LIMIT
    up, down = (dict(list(depths.items())[:CHAIN_LIMIT]) for depths in (up, down))
    found = await _entries(connection, {*up, *down})
    ancestors = sorted((found[row_id] for row_id in up if row_id in found), key=lambda e: -up[e.id])
    descendants = sorted(
        (Descendant(down[row_id], found[row_id]) for row_id in down if row_id in found),
        key=lambda d: (d.depth, d.entry.started_at, d.entry.id),
    )
    return LineageChain(entry, tuple(ancestors), tuple(descendants), truncated)


def _ancestors(entry: PipelineLineageEntry, *, across_replays: bool) -> sa.Select[str, int]:
    """From row to parent. Only the first rows of a replay have no parent but a row they replay."""
    start = sa.select(
        rows.c.id, rows.c.parent_id, rows.c.replayed_from, sa.literal(0).label("depth")
    )
    below = start.where(rows.c.id == entry.id).cte("chain", recursive=True)
    above = rows.alias("above")
    wanted: sa.ColumnElement[str] = below.c.parent_id
    if across_replays:
        wanted = sa.func.coalesce(below.c.parent_id, below.c.replayed_from)
    step = sa.select(above.c.id, above.c.parent_id, above.c.replayed_from, below.c.depth + 1).where(
        above.c.id == wanted
    )
    if not across_replays:
        step = step.where(above.c.execution_id == entry.execution_id)
    chain = below.union_all(step)
    return sa.select(chain.c.id, chain.c.depth)


def _descendants(entry: PipelineLineageEntry) -> sa.Select[str, int]:
    start = sa.select(rows.c.id, sa.literal(0).label("depth")).where(rows.c.id == entry.id)
    above = start.cte("chain", recursive=True)
    below = rows.alias("below")
    step = sa.select(below.c.id, above.c.depth + 1).where(
        below.c.parent_id == above.c.id, below.c.execution_id == entry.execution_id
    )
    chain = above.union_all(step)
    return sa.select(chain.c.id, chain.c.depth)


async def _depths(
    connection: AsyncConnection, entry: PipelineLineageEntry, walk: sa.Select[str, int]
) -> dict[str, int]:
    """Return the depths of the rows a walk meets first, one more than the limit at most.

    Both databases make the rows of a recursive query breadth first and only as many as are fetched, so
    the limit also ends a walk in a circle, should damaged data hold one.
    """
    depths: dict[str, int] = {}
    for row_id, depth in await connection.execute(walk.limit(CHAIN_LIMIT + 2)):
        if row_id != entry.id:
            depths.setdefault(row_id, depth)
    return depths


async def _entries(
    connection: AsyncConnection, ids: Iterable[str]
) -> dict[str, PipelineLineageEntry]:
    wanted = sorted(ids)
    found: dict[str, PipelineLineageEntry] = {}
    for start in range(0, len(wanted), ROWS_PER_SELECT):
        some = wanted[start : start + ROWS_PER_SELECT]
        result = await connection.execute(sa.select(rows).where(rows.c.id.in_(some)))
        found.update((row.id, entry_from_row(row)) for row in result)
    return found
