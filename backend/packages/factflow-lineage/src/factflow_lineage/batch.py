"""One batch of rows, with all it moves, in one transaction."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.completeness import count_pending, lower
from factflow_lineage.counters import CounterMoves, StageOfExecution, insert_for
from factflow_lineage.models import PipelineLineageEntry, rank, replaces
from factflow_lineage.tables import row_values, rows

ROWS_PER_STATEMENT = 100
"""Keeps each turn on the event loop, which prepares the values, around a millisecond."""

_WRITERS_LOCK = 0x666C696E  # any constant: the PostgreSQL advisory lock all lineage writers share


async def write_batch(connection: AsyncConnection, entries: Sequence[PipelineLineageEntry]) -> None:
    """Write entries (ids all different) inside the caller's transaction.

    Rows that what stands outranks are left out (see `models.replaces`), so the same batch a second
    time changes nothing. Counters and `pending_children` follow in the same transaction.
    """
    if connection.dialect.name == "postgresql":
        # Two processes committing a parent and its child at once would each miss the other's row.
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS_LOCK)))
    standing = await _standing(connection, [entry.id for entry in entries])
    moves = CounterMoves()
    taken: list[PipelineLineageEntry] = []
    for entry in entries:
        old = standing.get(entry.id)
        if old is not None:
            if not replaces(_rank(entry), _rank(old)):
                continue
            stage = StageOfExecution(old.execution_id, old.route_id, old.stage, old.adapter)
            moves.leave(stage, old.status)
        moves.enter(entry)
        taken.append(entry)
    counts = await count_pending(connection, [entry for entry in taken if entry.committed])
    await _upsert(connection, taken, counts.written)
    await lower(connection, counts.lowered)
    await moves.write(connection)


def _rank(row: Any) -> tuple[int, int, int, float] | None:
    return rank(row.status, row.generation, row.attempts, row.started_at)


async def _standing(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Any]:
    c = rows.c
    found = await connection.execute(
        sa.select(
            c.id,
            c.execution_id,
            c.route_id,
            c.stage,
            c.adapter,
            c.status,
            c.generation,
            c.attempts,
            c.started_at,
        ).where(c.id.in_(ids))
    )
    return {row.id: row for row in found}


async def _upsert(
    connection: AsyncConnection, entries: Sequence[PipelineLineageEntry], pending: Mapping[str, int]
) -> None:
    text, in_order = _upsert_statement(connection.dialect)
    for start in range(0, len(entries), ROWS_PER_STATEMENT):
        some = entries[start : start + ROWS_PER_STATEMENT]
        values = [in_order(row_values(entry, pending.get(entry.id, 0))) for entry in some]
        await connection.exec_driver_sql(text, values)


@functools.lru_cache(maxsize=8)
def _upsert_statement(
    dialect: sa.Dialect,
) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    """Return the statement in the driver's own words, and what puts a row's values in its order.

    Every row passes here; going through SQLAlchemy's parameters row by row costs as much as the rest.
    """
    insert = insert_for(dialect, rows)
    replaced = {c.name: insert.excluded[c.name] for c in rows.c if not c.primary_key}
    statement = insert.on_conflict_do_update(index_elements=[rows.c.id], set_=replaced)
    compiled = statement.compile(dialect=dialect, column_keys=[c.name for c in rows.c])
    if not compiled.positiontup:
        raise TypeError(f"the driver of {dialect.name} takes its parameters by name")
    return compiled.string, itemgetter(*compiled.positiontup)
