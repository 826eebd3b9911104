"""The committed outcomes of an execution in the order in which lineage learned of them.

An outcome's number is that of its row, or of its late end where the row had been written before the
outcome was (see `late_ends`). Numbers are given inside one transaction at a time, so none appears below
one that was read. What is read for a page are the rows of some numbers, not an index: of a running
execution these are its own and those of the few that run beside it. Stretches in which others wrote
only are jumped over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_foundation.clock import isoformat
from factflow_lineage.errors import EventUnknownError
from factflow_lineage.hex_text import packed
from factflow_lineage.models import COMMITTED
from factflow_lineage.row_search import execution_number
from factflow_lineage.tables import late_ends, rows, stages, tables_identity

NUMBERS_PER_STEP = 20_000
PAGE = 200
BEGINNING = "0"
"""The name of the place before the first outcome."""


class CommittedOutcome(NamedTuple):
    """One outcome: its number, a name for its place in the log, and what is told of it."""

    number: int
    name: str
    told: dict[str, Any]


class OutcomePage(NamedTuple):
    """Outcomes in order; everything up to `reached` has been looked at, `complete` says that this is all."""

    outcomes: Sequence[CommittedOutcome]
    reached: int
    complete: bool


async def read_page(
    connection: AsyncConnection,
    execution_id: str,
    after: int,
    *,
    route_id: str | None = None,
    limit: int = PAGE,
) -> OutcomePage:
    """Return up to `limit` outcomes behind a number, of one route if wanted. Of a stretch with none it
    returns where the next may be."""
    execution = await _execution(connection, execution_id)
    last = await _last_number(connection)
    if execution is None or after >= last:
        return OutcomePage((), after, complete=True)
    until = min(after + NUMBERS_PER_STEP, last)
    names = await _stages(connection, execution, route_id)
    found = await _read(connection, execution, list(names), after=after, until=until, limit=limit)
    if len(found) == limit:
        until = found[-1][0]
    elif not found and until < last:
        until = await _before_next(connection, execution, until, last)
    drawn = await _identity(connection)
    outcomes = [_outcome(number, row, names, drawn) for number, row in found]
    return OutcomePage(outcomes, until, complete=until >= last)


async def find_place(connection: AsyncConnection, execution_id: str, name: str) -> int:
    """Return the number that a place in an execution's log has.

    Raises `EventUnknownError` for what is no place in it, or in no longer: the database that had it was
    lost, or went back to an earlier state.
    """
    if name == BEGINNING:
        return 0
    number, _, mark = name.partition("-")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise EventUnknownError(name)
    late = sa.select(late_ends.c.row_number).where(late_ends.c.number == int(number))
    row_number = (await connection.execute(late)).scalar() or int(number)
    query = sa.select(rows.c.id).where(
        rows.c.number == row_number, rows.c.execution_number == execution_number(execution_id)
    )
    row_id = (await connection.execute(query)).scalar()
    if row_id is None or mark != _mark(await _identity(connection), row_id):
        raise EventUnknownError(name)
    return int(number)


async def last_place(connection: AsyncConnection, execution_id: str) -> tuple[int, str]:
    """Return the number and the name of an execution's last outcome so far."""
    execution = await _execution(connection, execution_id)
    own = rows.c.execution_number == execution
    in_rows = sa.select(sa.func.max(rows.c.number + 0)).where(own)
    number = (await connection.execute(in_rows)).scalar()
    if execution is None or number is None:
        return 0, BEGINNING
    late = late_ends.c.execution_number == execution
    end = sa.select(late_ends.c.number, late_ends.c.row_number).where(late)
    latest = (await connection.execute(end.order_by(late_ends.c.number.desc()).limit(1))).first()
    row_number = number
    if latest is not None and latest.number > number:
        number, row_number = latest
    query = sa.select(rows.c.id).where(rows.c.number == row_number)
    row_id = (await connection.execute(query)).scalar_one()
    return number, f"{number}-{_mark(await _identity(connection), row_id)}"


def _mark(drawn: str, row_id: str) -> str:
    """Return what a place is recognised by: the tables it is in, and the row there."""
    return hashlib.blake2s(packed(row_id), key=drawn.encode(), digest_size=6).hexdigest()


async def _identity(connection: AsyncConnection) -> str:
    return await tables_identity(connection) or ""


async def _execution(connection: AsyncConnection, execution_id: str) -> int | None:
    number = execution_number(execution_id)
    return (await connection.execute(sa.select(number))).scalar()


async def _last_number(connection: AsyncConnection) -> int:
    highest = [
        (await connection.execute(sa.select(sa.func.max(table.c.number)))).scalar() or 0
        for table in (rows, late_ends)
    ]
    return max(highest)


async def _stages(
    connection: AsyncConnection, execution: int, route_id: str | None
) -> dict[int, Any]:
    query = sa.select(stages.c.number, stages.c.route_id, stages.c.stage, stages.c.adapter)
    query = query.where(stages.c.execution_number == execution)
    if route_id is not None:
        query = query.where(stages.c.route_id == route_id)
    return {row.number: row for row in await connection.execute(query)}


_TOLD = (
    *(rows.c.id, rows.c.stage_number, rows.c.message_id, rows.c.outcome, rows.c.output_key),
    *(rows.c.output_size, rows.c.content_type, rows.c.output_count, rows.c.error),
    *(rows.c.attempts, rows.c.completed_at, rows.c.duration_ms),
)


async def _read(
    connection: AsyncConnection,
    execution: int,
    stage_numbers: Sequence[int],
    *,
    after: int,
    until: int,
    limit: int,
) -> list[tuple[int, Any]]:
    """Return the outcomes with numbers behind `after` and up to `until`, in order, `limit` at most."""
    # `+ 0` keeps the database from looking through all rows of the execution in its index.
    ours = rows.c.stage_number + 0
    has_late_end = sa.exists().where(late_ends.c.row_number == rows.c.number)
    at_once = (
        sa.select(rows.c.number.label("place"), *_TOLD)
        .where(rows.c.number > after, rows.c.number <= until, ours.in_(stage_numbers))
        .where(rows.c.status.in_(COMMITTED), ~has_late_end)
        .order_by(rows.c.number)
        .limit(limit)
    )
    place = late_ends.c.number
    late = (
        sa.select(place.label("place"), *_TOLD)
        .join(rows, rows.c.number == late_ends.c.row_number)
        .where(place > after, place <= until, late_ends.c.execution_number == execution)
        .where(ours.in_(stage_numbers))
        .order_by(place)
        .limit(limit)
    )
    found = [
        (row.place, row) for query in (at_once, late) for row in await connection.execute(query)
    ]
    return sorted(found, key=lambda pair: pair[0])[:limit]


async def _before_next(connection: AsyncConnection, execution: int, after: int, last: int) -> int:
    """Return the number before this execution's next behind `after`; `last` if none follows."""
    number = rows.c.number + 0
    in_rows = sa.select(sa.func.min(number)).where(
        rows.c.execution_number == execution, number > after
    )
    in_ends = sa.select(sa.func.min(late_ends.c.number)).where(
        late_ends.c.execution_number == execution, late_ends.c.number > after
    )
    found = [(await connection.execute(query)).scalar() for query in (in_rows, in_ends)]
    known = [number for number in found if number is not None]
    return min(known) - 1 if known else last


def _outcome(number: int, row: Any, names: dict[int, Any], drawn: str) -> CommittedOutcome:
    stage = names[row.stage_number]
    error = row.error and {"type": row.error["type"], "message": row.error["message"]}
    told = {
        "key": row.output_key,
        "route_id": stage.route_id,
        "stage": stage.stage,
        "adapter": stage.adapter,
        "message_id": row.message_id,
        "outcome": row.outcome,
        "size": row.output_size,
        "content_type": row.content_type,
        "output_count": row.output_count,
        "error": error,
        "attempts": row.attempts,
        "completed_at": row.completed_at and isoformat(row.completed_at),
        "duration_ms": row.duration_ms,
        "lineage_id": row.id,
    }
    return CommittedOutcome(number, f"{number}-{_mark(drawn, row.id)}", told)
