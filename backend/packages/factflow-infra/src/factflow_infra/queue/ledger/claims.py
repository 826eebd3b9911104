"""Who handles which message, as SQL: claims set and taken back, and counted as crashes for the dead.

A claimant is a process, known by the number of an advisory lock that its session holds while it lives
(`presence.py`). In SQLite there is one process and it is number 0: whoever opens a scope there finds what
dead ones claimed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_infra.queue.ledger.parts import among, parts
from factflow_infra.queue.ledger.tables import STANDING, messages

_LOCKS_TO_HAVE = text(
    "SELECT id FROM unnest(CAST(:ids AS bigint[])) AS id WHERE "
    "CASE WHEN pg_try_advisory_lock_shared(id) THEN pg_advisory_unlock_shared(id) ELSE false END"
)
"""Shared, so that two who look at the same time do not take each other for the one that holds it."""


async def claim(
    connection: AsyncConnection, scope_id: int, ids: Sequence[str], claimant: int
) -> None:
    """Note that messages are being handled."""
    standing = update(messages).where(among(scope_id), messages.c.state == STANDING)
    for part in parts(ids):
        await connection.execute(standing.values(claimed=1, claimant=claimant), {"ids": part})


async def unclaim(
    connection: AsyncConnection, scope_id: int, ids: Sequence[str], claimant: int
) -> None:
    """Note that the claimant does not handle them any more."""
    mine = update(messages).where(among(scope_id), messages.c.claimant == claimant)
    for part in parts(ids):
        await connection.execute(mine.values(claimed=0), {"ids": part})


async def unclaim_all(connection: AsyncConnection, scope_id: int, claimant: int) -> None:
    """Note that the claimant handles nothing of a scope any more."""
    await connection.execute(
        update(messages)
        .where(_claimed(scope_id), messages.c.claimant == claimant)
        .values(claimed=0)
    )


async def count_crashes(connection: AsyncConnection, scope_id: int, mine: int) -> None:
    """Count one more crash for everything in a scope that a dead claimant left."""
    found = select(messages.c.claimant).where(_claimed(scope_id)).distinct()
    claimants = set(await connection.scalars(found))
    dead = await dead_among(connection, claimants, mine)
    if dead:
        await connection.execute(
            update(messages)
            .where(_claimed(scope_id), messages.c.claimant.in_(dead))
            .values(claimed=0, crashes=messages.c.crashes + 1)
        )


async def count_crashes_of(
    connection: AsyncConnection, scope_id: int, ids: Sequence[str], dead: Collection[int]
) -> dict[str, int]:
    """Count one more crash for those of these messages that the dead left; return how many each has then.

    A row that somebody else is changing at the moment is left out: it is being claimed or settled.
    """
    counted: dict[str, int] = {}
    for part in parts(ids):
        left = (
            select(messages.c.message_id)
            .where(among(scope_id), messages.c.claimed == 1, messages.c.claimant.in_(dead))
            .with_for_update(skip_locked=True)
        )
        free = list(await connection.scalars(left, {"ids": part}))
        if free:
            changed = await connection.execute(
                update(messages)
                .where(among(scope_id), messages.c.claimed == 1)
                .values(claimed=0, crashes=messages.c.crashes + 1)
                .returning(messages.c.message_id, messages.c.crashes),
                {"ids": free},
            )
            counted |= {row.message_id: row.crashes for row in changed}
    return counted


async def dead_among(
    connection: AsyncConnection, claimants: Collection[int], mine: int
) -> list[int]:
    """Return those whose process has ended."""
    if connection.dialect.name != "postgresql":
        return list(claimants)
    others = [claimant for claimant in claimants if claimant != mine]
    if not others:
        return []
    return list(await connection.scalars(_LOCKS_TO_HAVE, {"ids": others}))


def _claimed(scope_id: int) -> Any:
    return (messages.c.scope == scope_id) & (messages.c.claimed == 1)
