"""A page of rows, found through indexes whatever it is narrowed by.

The index in the order of start that fits is read: of one stage, of one execution, or of all rows. Where
several stages match, their first rows are merged. Only the rows of the page itself are read as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.filters import LineageFilter
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.row_values import entries_query, entry_from_row
from factflow_lineage.stats import count_rows
from factflow_lineage.tables import executions, rows, stages

MERGED_STAGES = 30
"""More stages than these are looked for among all rows."""

Conditions = Sequence[sa.ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class LineagePage:
    """A part of a listing; `total` rows match in all."""

    entries: tuple[PipelineLineageEntry, ...]
    total: int
    limit: int
    offset: int

    @property
    def has_more(self) -> bool:
        """Tell whether rows follow this page."""
        return self.offset + len(self.entries) < self.total


async def list_rows(connection: AsyncConnection, filters: LineageFilter) -> LineagePage:
    """Return the rows that match, by start; those of the same start as they were first written."""
    scopes = await _scopes(connection, filters)
    conditions = filters.row_conditions()
    total = await _total(connection, filters, scopes, conditions)
    if not total or filters.offset >= total:
        return LineagePage((), total, filters.limit, filters.offset)
    order: list[Any] = [rows.c.started_at, rows.c.number]
    if filters.sort_order == "desc":
        order = [column.desc() for column in order]
    chosen = _choose(scopes, conditions, order, filters.limit, filters.offset)
    entries = await read_chosen(connection, chosen, order)
    return LineagePage(entries, total, filters.limit, filters.offset)


async def count_matching(connection: AsyncConnection, conditions: Conditions) -> int:
    """Return how many rows fulfil conditions, by looking at them (or at their entries in an index)."""
    query = sa.select(sa.func.count()).select_from(rows).where(*conditions)
    return int((await connection.execute(query)).scalar_one())


async def read_chosen(
    connection: AsyncConnection, chosen: sa.Select[int], order: Sequence[Any]
) -> tuple[PipelineLineageEntry, ...]:
    """Return the rows whose numbers a query gives, in an order of columns of `rows`."""
    numbers = chosen.subquery("chosen")
    query = entries_query().join(numbers, numbers.c.number == rows.c.number).order_by(*order)
    return tuple(entry_from_row(row) for row in await connection.execute(query))


async def _scopes(connection: AsyncConnection, filters: LineageFilter) -> list[Conditions]:
    """Return what the rows looked for lie in: any of these conditions."""
    if filters.names_stages:
        query = (
            sa.select(stages.c.number, stages.c.execution_number)
            .join(executions, executions.c.number == stages.c.execution_number)
            .where(*filters.stage_conditions())
        )
        found = (await connection.execute(query.limit(MERGED_STAGES + 1))).all()
        if len(found) <= MERGED_STAGES:
            # Told of both, the database would not choose the index of stages.
            return [
                [rows.c.stage_number == stage, rows.c.execution_number == execution]
                if filters.finds_few
                else [rows.c.stage_number == stage]
                for stage, execution in found
            ]
        numbers = query.with_only_columns(stages.c.number)
        return [[rows.c.stage_number.in_(numbers)]]
    if filters.execution_id is not None:
        query = sa.select(executions.c.number).where(*filters.stage_conditions())
        number = (await connection.execute(query)).scalar()
        return [] if number is None else [[rows.c.execution_number == number]]
    return [[]]


async def _total(
    connection: AsyncConnection,
    filters: LineageFilter,
    scopes: Sequence[Conditions],
    conditions: Conditions,
) -> int:
    if filters.counted:
        return await count_rows(connection, filters)
    if filters.is_root is False and replace(filters, is_root=None).counted:
        # Roots are few and have an index; the others are nearly all rows.
        roots = replace(filters, is_root=True)
        among = [await count_matching(connection, [*s, *roots.row_conditions()]) for s in scopes]
        return await count_rows(connection, replace(filters, is_root=None)) - sum(among)
    return sum([await count_matching(connection, [*scope, *conditions]) for scope in scopes])


def _choose(
    scopes: Sequence[Conditions],
    conditions: Conditions,
    order: Sequence[Any],
    limit: int,
    offset: int,
) -> sa.Select[int]:
    """Return the query of the page's row numbers."""
    if len(scopes) == 1:
        query = sa.select(rows.c.number).where(*scopes[0], *conditions)
        return query.order_by(*order).limit(limit).offset(offset)
    parts = [
        sa.select(
            sa.select(rows.c.number, rows.c.started_at)
            .where(*scope, *conditions)
            .order_by(*order)
            .limit(limit + offset)
            .subquery()
        )
        for scope in scopes
    ]
    merged = sa.union_all(*parts).subquery("merged")
    merged_order: list[Any] = [merged.c.started_at, merged.c.number]
    if order and isinstance(order[0], sa.UnaryExpression):
        merged_order = [column.desc() for column in merged_order]
    return sa.select(merged.c.number).order_by(*merged_order).limit(limit).offset(offset)
