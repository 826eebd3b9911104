"""Where a row came from and what became of it: recursive queries over the numbers of parents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.row_search import FoundRow, look_for_row, read_row, read_rows
from factflow_lineage.tables import rows

CHAIN_LIMIT = 1000
"""At most this many ancestors, and as many descendants, are returned."""

ROWS_PER_SELECT = 500
LEVELS_READ_SINGLY = 8


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
    connection: AsyncConnection, row: FoundRow, *, across_replays: bool
) -> LineageChain:
    """Walk up and down from a row, within its execution; with `across_replays` upward also into the
    executions it was replayed from."""
    up = await _ancestors(connection, row, across_replays=across_replays)
    down = await _descendants(connection, row)
    truncated = len(up) > CHAIN_LIMIT or len(down) > CHAIN_LIMIT
    up, down = (dict(list(depths.items())[:CHAIN_LIMIT]) for depths in (up, down))
    found = await _entries(connection, {*up, *down})
    ancestors = [found[number] for number in sorted(up, key=lambda n: -up[n]) if number in found]
    descendants = [
        (Descendant(down[number], found[number]), number) for number in down if number in found
    ]
    descendants.sort(key=lambda below: (below[0].depth, below[0].entry.started_at, below[1]))
    return LineageChain(
        row.entry, tuple(ancestors), tuple(below for below, _ in descendants), truncated
    )


async def _ancestors(
    connection: AsyncConnection, row: FoundRow, *, across_replays: bool
) -> dict[int, int]:
    """Go from row to parent, and with `across_replays` on from the first row of each execution: only
    the first rows of a replay have no parent but a row they replay."""
    depths: dict[int, int] = {}
    top, depth = row, 0
    seen = {row.number}
    while len(depths) <= CHAIN_LIMIT:
        above = await _walk(connection, [top.number], up=True)
        for number, steps in above.items():
            if number not in seen:
                depths[number] = depth + steps
        seen |= above.keys()
        if above:
            depth += max(above.values())
            highest = max(above, key=lambda number: above[number])
            top = await read_row(connection, highest)
        source = top.entry.replayed_from
        if not across_replays or top.entry.parent_id is not None or source is None:
            break
        replayed = await look_for_row(connection, source)
        if replayed is None or replayed.number in seen:
            break
        depth += 1
        depths[replayed.number] = depth
        seen.add(replayed.number)
        top = replayed
    return depths


async def _descendants(connection: AsyncConnection, row: FoundRow) -> dict[int, int]:
    """Go down breadth first. A recursive query takes all children of a row at once, though few are asked
    for, so the levels near the row, where a fan-out may be, are read one by one."""
    depths: dict[int, int] = {}
    level, depth = [row.number], 0
    while level and depth < LEVELS_READ_SINGLY:
        depth += 1
        query = (
            sa.select(rows.c.number)
            .where(rows.c.parent_number.in_(level))
            .order_by(rows.c.parent_number, rows.c.number)
            .limit(CHAIN_LIMIT + 2 - len(depths))
        )
        found = (await connection.execute(query)).scalars()
        level = [number for number in found if number not in depths and number != row.number]
        depths |= dict.fromkeys(level, depth)
        if len(depths) > CHAIN_LIMIT:
            return depths
    if level:
        for number, steps in (await _walk(connection, level, up=False)).items():
            if number != row.number:
                depths.setdefault(number, depth + steps)
    return depths


async def _walk(connection: AsyncConnection, numbers: Sequence[int], *, up: bool) -> dict[int, int]:
    """Return the depths of the rows a walk from some rows meets first, one more than the limit at most, by
    their numbers.

    Both databases make the rows of a recursive query breadth first and only as many as are fetched, so
    the limit also ends a walk in a circle, should damaged data hold one.
    """
    start = sa.select(rows.c.number, rows.c.parent_number, sa.literal(0).label("depth"))
    chain = start.where(rows.c.number.in_(numbers)).cte("chain", recursive=True)
    following = rows.alias("following").c
    step = sa.select(following.number, following.parent_number, chain.c.depth + 1).where(
        following.number == chain.c.parent_number
        if up
        else following.parent_number == chain.c.number
    )
    chain = chain.union_all(step)
    query = sa.select(chain.c.number, chain.c.depth).limit(CHAIN_LIMIT + 1 + len(numbers))
    depths: dict[int, int] = {}
    for number, depth in await connection.execute(query):
        if number not in numbers:
            depths.setdefault(number, depth)
    return depths


async def _entries(
    connection: AsyncConnection, numbers: Iterable[int]
) -> dict[int, PipelineLineageEntry]:
    wanted = sorted(numbers)
    found: dict[int, PipelineLineageEntry] = {}
    for start in range(0, len(wanted), ROWS_PER_SELECT):
        some = wanted[start : start + ROWS_PER_SELECT]
        found |= {row.number: row.entry for row in await read_rows(connection, some)}
    return found
