"""Deleting what lineage knows of an execution, step by step."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.tables import durations, executions, late_ends, rows, stages
from factflow_lineage.turns import take_turn

ROWS_PER_STEP = 5_000


async def delete_step(connection: AsyncConnection, execution_id: str) -> int:
    """Delete up to `ROWS_PER_STEP` rows of an execution and return how many; with the last ones also
    its counters."""
    await take_turn(connection)
    number = (
        sa.select(executions.c.number)
        .where(executions.c.execution_id == execution_id)
        .scalar_subquery()
    )
    some = sa.select(rows.c.number).where(rows.c.execution_number == number)
    # Numbers of deleted rows may be given again: a child, which began later, goes before the parent it names
    # by number. By the numbers themselves each step would sort all rows that are left.
    some = some.order_by(rows.c.started_at.desc(), rows.c.number.desc()).limit(ROWS_PER_STEP)
    await connection.execute(sa.delete(late_ends).where(late_ends.c.row_number.in_(some)))
    deleted = (await connection.execute(sa.delete(rows).where(rows.c.number.in_(some)))).rowcount
    if deleted < ROWS_PER_STEP:
        of_execution = sa.select(stages.c.number).where(stages.c.execution_number == number)
        await connection.execute(
            sa.delete(durations).where(durations.c.stage_number.in_(of_execution))
        )
        await connection.execute(sa.delete(stages).where(stages.c.execution_number == number))
        await connection.execute(
            sa.delete(executions).where(executions.c.execution_id == execution_id)
        )
    return deleted
