"""Goes along an index and looks at each row it leads to, for a bounded number of rows.

What an index knows (`Walk.scopes`, `Walk.indexed`) decides which rows are met, and in which order.
Conditions that no index knows (`Walk.looked`: a metadata field, an outcome) are looked at row by row. A
database asked for the first hundred rows of a rare kind would read all there are; here it reads some at
a time, and says after `SCAN_LIMIT` rows how far it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.cursor import Position
from factflow_lineage.tables import rows

SCAN_LIMIT = 20_000
"""Rows looked at for one page, some tenths of a second."""
FIRST_WINDOW, LARGEST_WINDOW = 500, 5_000

Conditions = Sequence[sa.ColumnElement[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Which rows are met, in any of the `scopes` and by all that is `indexed`, in which order (and what
    that is called in cursors), from which place on; and which of them are wanted."""

    scopes: Sequence[Conditions]
    indexed: Conditions
    looked: Conditions = ()
    order: str
    sorted_by: sa.ColumnElement[float]
    descending: bool = False
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The numbers of the rows wanted, in order; how many were met on the way; and where to go on, None at
    the end. `passed` rows were wanted and left out."""

    numbers: list[int]
    scanned: int
    passed: int
    next: Position | None


async def walk(connection: AsyncConnection, way: Walk, *, limit: int, offset: int = 0) -> Found:
    """Return the next `limit` rows wanted, fewer when `SCAN_LIMIT` rows had to be looked at for them;
    with an offset, what comes behind that many."""
    numbers: list[int] = []
    scanned = passed = skip = 0
    last = here = way.after
    budget, window = SCAN_LIMIT, FIRST_WINDOW
    if not way.looked:  # each row that is met is wanted: the database passes over them by itself
        skip, offset = offset, 0
        budget = window = limit + 1
    while scanned < budget:
        window = min(window, budget - scanned)
        met = (await connection.execute(_window(way, here, window, skip))).all()
        for value, number, is_wanted in met:
            here = Position(value or 0.0, number)
            scanned += 1
            if not is_wanted:
                continue
            if passed < offset:
                passed += 1
            elif len(numbers) == limit:
                return Found(numbers, scanned, passed, last)
            else:
                numbers.append(number)
                last = here
        if len(met) < window:
            return Found(numbers, scanned, passed, None)
        window = min(2 * window, LARGEST_WINDOW)
    return Found(numbers, scanned, passed, here)


def _window(way: Walk, after: Position | None, size: int, skip: int) -> sa.Select[Any]:
    """Return the query of the next rows met: what they are sorted by, their number, and if wanted."""
    parts = [_part(way, scope, after).limit(size + skip) for scope in way.scopes]
    if len(parts) > 1:
        # Each part has an order of its own, which only a query around it may keep.
        merged = sa.union_all(*(sa.select(part.subquery()) for part in parts)).subquery("merged")
        met = sa.select(merged).order_by(*_order(way, merged.c.value, merged.c.number))
    else:
        met = parts[0]
    met = met.limit(size).offset(skip)
    if not way.looked:
        return met.add_columns(sa.literal(1))
    found = met.subquery("met")
    return (
        sa.select(found.c.value, found.c.number, sa.and_(*way.looked))
        .join(rows, rows.c.number == found.c.number)
        .order_by(*_order(way, found.c.value, found.c.number))
    )


def _part(way: Walk, scope: Conditions, after: Position | None) -> sa.Select[Any]:
    conditions = [*scope, *way.indexed]
    if after is not None:
        conditions += _behind(way, after)
    return (
        sa.select(way.sorted_by.label("value"), rows.c.number.label("number"))
        .where(*conditions)
        .order_by(*_order(way, way.sorted_by, rows.c.number))
    )


def _order(way: Walk, value: Any, number: Any) -> list[Any]:
    return [value.desc(), number.desc()] if way.descending else [value, number]


def _behind(way: Walk, after: Position) -> list[sa.ColumnElement[bool]]:
    """Return the condition of coming after a place: first as an index knows it, then in full."""
    value, number = way.sorted_by, rows.c.number
    if way.descending:
        full = sa.or_(value < after.value, number < after.number)
        return [value <= after.value, full]
    return [value >= after.value, sa.or_(value > after.value, number > after.number)]
