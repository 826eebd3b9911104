"""`pending_children`: how many expected child rows are not complete yet.

A row is complete when it is committed and none of its children is pending. A parent's count is made when
it turns committed (expected children less those complete by then) and lowered by each child that becomes
complete later; a count that reaches 0 completes the row, which lowers its own parent, and so on upward.
Each complete child is thus counted exactly once, in whatever order rows arrive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.models import COMMITTED, PipelineLineageEntry
from factflow_lineage.tables import rows


@dataclass(slots=True)
class _Parent:
    parent_id: str | None
    pending: int


@dataclass(frozen=True, slots=True)
class PendingCounts:
    """`written`: the count of each row of the batch that turns committed; `lowered`: new counts of
    rows that stand in the database."""

    written: Mapping[str, int]
    lowered: Mapping[str, int]


async def count_pending(
    connection: AsyncConnection, committed: Sequence[PipelineLineageEntry]
) -> PendingCounts:
    """Work out what these rows, about to turn committed, do to themselves and to rows above them.

    Reads only, before anything of the batch is written: one query for the children that came first and
    one per level above the batch.
    """
    came_first = await _complete_children(
        connection, [entry.id for entry in committed if entry.expected_children > 0]
    )
    parents = {
        entry.id: _Parent(
            entry.parent_id, max(0, entry.expected_children - came_first.get(entry.id, 0))
        )
        for entry in committed
    }
    own = set(parents)
    lowered: set[str] = set()
    completed = Counter(
        parent.parent_id
        for parent in parents.values()
        if parent.pending == 0 and parent.parent_id is not None
    )
    while completed:
        parents |= await _waiting(connection, completed.keys() - parents.keys())
        above: Counter[str] = Counter()
        for row_id, count in completed.items():
            parent = parents.get(row_id)
            if parent is None or parent.pending == 0:
                continue  # not committed yet: the child is counted when the parent is
            parent.pending = max(0, parent.pending - count)
            lowered.add(row_id)
            if parent.pending == 0 and parent.parent_id is not None:
                above[parent.parent_id] += 1
        completed = above
    return PendingCounts(
        {row_id: parents[row_id].pending for row_id in own},
        {row_id: parents[row_id].pending for row_id in sorted(lowered - own)},
    )


async def lower(connection: AsyncConnection, counts: Mapping[str, int]) -> None:
    """Write new counts of rows that stand in the database."""
    if not counts:
        return
    statement = (
        sa.update(rows)
        .where(rows.c.id == sa.bindparam("row_id"))
        .values(pending_children=sa.bindparam("pending"))
    )
    values = [{"row_id": row_id, "pending": pending} for row_id, pending in counts.items()]
    await connection.execute(statement, values)


async def _complete_children(
    connection: AsyncConnection, parents: Collection[str]
) -> dict[str, int]:
    if not parents:
        return {}
    found = await connection.execute(
        sa.select(rows.c.parent_id, sa.func.count())
        .where(
            rows.c.parent_id.in_(parents),
            rows.c.status.in_(COMMITTED),
            rows.c.pending_children == 0,
        )
        .group_by(rows.c.parent_id)
    )
    return {row[0]: row[1] for row in found}


async def _waiting(connection: AsyncConnection, ids: Collection[str]) -> dict[str, _Parent]:
    if not ids:
        return {}
    found = await connection.execute(
        sa.select(rows.c.id, rows.c.parent_id, rows.c.pending_children).where(
            rows.c.id.in_(ids), rows.c.status.in_(COMMITTED), rows.c.pending_children > 0
        )
    )
    return {row_id: _Parent(parent_id, pending) for row_id, parent_id, pending in found}
