"""Finding a row by its id or its message's, or by its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.errors import LineageNotFoundError
from factflow_lineage.id_search import asked, blocks, of_message
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.row_values import entries_query, entry_from_row
from factflow_lineage.tables import executions, rows


@dataclass(frozen=True, slots=True)
class FoundRow:
    """An entry with what leads on to others from it."""

    number: int
    block: int
    execution_number: int
    entry: PipelineLineageEntry


async def find_row(connection: AsyncConnection, wanted: str) -> FoundRow:
    """Return the row of this id, or the furthest row of the message of this id.

    Raises `LineageNotFoundError`.
    """
    row = await look_for_row(connection, wanted)
    if row is not None:
        return row
    found = await _read(connection, [rows.c.number.in_(of_message(wanted))])
    if not found:
        raise LineageNotFoundError(wanted)
    passed = {row.entry.parent_id for row in found}
    furthest = [row for row in found if row.entry.id not in passed] or found
    return max(furthest, key=lambda row: (row.entry.started_at, row.entry.id))


async def look_for_row(connection: AsyncConnection, row_id: str) -> FoundRow | None:
    """Return the row of this id; None when there is none."""
    found = await _read(connection, [rows.c.block.in_(blocks()), rows.c.id == asked(row_id)])
    return found[0] if found else None


async def look_for_rows(
    connection: AsyncConnection, execution_id: str, ids: Sequence[str]
) -> list[FoundRow]:
    """Return those of an execution's rows that have one of these ids."""
    block = sa.select(executions.c.block).where(executions.c.execution_id == asked(execution_id))
    conditions = [
        rows.c.block == block.scalar_subquery(),
        rows.c.id.in_([asked(row_id) for row_id in ids]),
        rows.c.execution_number == execution_number(execution_id),
    ]
    return await _read(connection, conditions)


async def read_row(connection: AsyncConnection, number: int) -> FoundRow:
    """Return the row of this number, which must be there."""
    (row,) = await read_rows(connection, [number])
    return row


async def read_rows(connection: AsyncConnection, numbers: Sequence[int]) -> list[FoundRow]:
    """Return rows by their numbers, in any order."""
    return await _read(connection, [rows.c.number.in_(numbers)])


def execution_number(execution_id: str) -> sa.ScalarSelect[int]:
    """Return the query of an execution's number."""
    return (
        sa.select(executions.c.number)
        .where(executions.c.execution_id == asked(execution_id))
        .scalar_subquery()
    )


async def _read(
    connection: AsyncConnection, conditions: Sequence[sa.ColumnElement[bool]]
) -> list[FoundRow]:
    c = rows.c
    query = entries_query().add_columns(c.number, c.block, c.execution_number).where(*conditions)
    return [_found(row) for row in await connection.execute(query)]


def _found(row: Any) -> FoundRow:
    return FoundRow(row.number, row.block, row.execution_number, entry_from_row(row))
