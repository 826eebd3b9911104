"""Goes along an index and looks at each row it leads to, for a bounded number of rows.

What an index knows (`Walk.scopes`, `Walk.indexed`) decides which rows are met, and in which order.
Conditions that no index knows (`Walk.looked`: a metadata field, an outcome) are looked at row by row. A
database asked for the first hundred rows of a rare kind would read all there are; here it reads some at
a time, and says after `SCAN_LIMIT` rows how far it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    if way.looked:
        return await _look(connection, way, limit, offset)
    # Each row that is met is wanted: the database passes over the first by itself.
    met = (await connection.execute(_met(way, way.after, limit + 1, offset))).all()
    numbers = [number for _, number in met[:limit]]
    following = None
    if len(met) > limit:
        value, number = met[limit - 1]
        following = Position(value or 0.0, number)
    return Found(numbers, len(met), 0, following)


async def _look(connection: AsyncConnection, way: Walk, limit: int, offset: int) -> Found:
    numbers: list[int] = []
    scanned = passed = 0
    last = here = way.after
    window = FIRST_WINDOW
    while scanned < SCAN_LIMIT:
        window = min(window, SCAN_LIMIT - scanned)
        told = (await connection.execute(_looked_at(way, here, window))).all()
        met = told[0].met if told else 0
        scanned += met
        for value, number, is_wanted, _ in told:
            here = Position(value or 0.0, number)
            if not is_wanted:
                continue
            if passed < offset:
                passed += 1
            elif len(numbers) == limit:
                return Found(numbers, scanned, passed, last)
            else:
                numbers.append(number)
                last = here
        if met < window:
            return Found(numbers, scanned, passed, None)
        window = min(2 * window, LARGEST_WINDOW)
    return Found(numbers, scanned, passed, here)


def _met(way: Walk, after: Position | None, size: int, skip: int = 0) -> sa.Select[Any]:
    """Return the query of the next rows met: what they are sorted by, and their number."""
    parts = [_part(way, scope, after).limit(size + skip) for scope in way.scopes]
    if len(parts) > 1:
        # Each part has an order of its own, which only a query around it may keep.
        merged = sa.union_all(*(sa.select(part.subquery()) for part in parts)).subquery("merged")
        met = sa.select(merged).order_by(*_order(way, merged.c.value, merged.c.number))
    else:
        met = parts[0]
    return met.limit(size).offset(skip)


def _looked_at(way: Walk, after: Position | None, size: int) -> sa.Select[Any]:
    """Return the query of the next rows that are wanted, and of the last one met: what they are sorted by,
    their number, if they are wanted, and how many were met.

    The thousands that are not wanted would cost more on their way here than the look at them.
    """
    met = _met(way, after, size).cte("met")
    # A query for each row: joined, a database may begin with all the rows there are of a kind.
    look = sa.select(sa.and_(*way.looked)).where(rows.c.number == met.c.number)
    wanted = sa.func.coalesce(look.correlate(met).scalar_subquery(), sa.false())
    seen = sa.select(met, wanted.label("wanted")).cte("seen")
    backwards = _order(replace(way, descending=not way.descending), met.c.value, met.c.number)
    last = sa.select(met.c.number).order_by(*backwards).limit(1).scalar_subquery()
    count = sa.select(sa.func.count()).select_from(met).scalar_subquery()
    return (
        sa.select(seen.c.value, seen.c.number, seen.c.wanted, count.label("met"))
        .where(sa.or_(seen.c.wanted, seen.c.number == last))
        .order_by(*_order(way, seen.c.value, seen.c.number))
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
