"""A batch as SQL. The counts it moves are those of rows that really changed, so they hold whatever comes
twice or in another order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_infra.queue.ledger.batch import (
    Announced,
    LedgerBatch,
    LedgerChanges,
    LedgerEntry,
)
from factflow_infra.queue.ledger.claims import claim, unclaim
from factflow_infra.queue.ledger.parts import among, dialect_insert, parts
from factflow_infra.queue.ledger.tables import (
    FAILED,
    SETTLED,
    STANDING,
    messages,
    queues,
    scopes,
)


async def write_batch(
    connection: AsyncConnection, scope_id: int, batch: LedgerBatch, claimant: int
) -> LedgerChanges:
    """Take in a batch within the connection's transaction; claims in it are the claimant's."""
    changes = LedgerChanges()
    new = await _announce(connection, scope_id, batch.announced, changes)
    children = [child for settled in batch.settled for child in settled.children]
    await _announce(connection, scope_id, children, changes)
    await _settle(connection, scope_id, batch, changes)
    asked = [one.message_id for one in batch.announced if one.message_id not in new]
    await _look_up(connection, scope_id, asked, changes)
    await claim(connection, scope_id, batch.claimed, claimant)
    await unclaim(connection, scope_id, batch.unclaimed, claimant)
    await _keep_counts(connection, scope_id, changes)
    kept: dict[str, Any] = {"publisher": batch.publisher, "cursor": batch.cursor}
    values = {name: value for name, value in kept.items() if value is not None}
    if values:
        await connection.execute(update(scopes).where(scopes.c.id == scope_id).values(values))
    return changes


async def _announce(
    connection: AsyncConnection,
    scope_id: int,
    announced: Iterable[Announced],
    changes: LedgerChanges,
) -> set[str]:
    """Add rows; return the ids of those that were not known."""
    rows = [_row(scope_id, one.message_id, one.queue, STANDING) for one in announced]
    new = await _insert(connection, rows)
    for _, queue in new:
        changes.count(queue).announced += 1
    return {message_id for message_id, _ in new}


async def _settle(
    connection: AsyncConnection, scope_id: int, batch: LedgerBatch, changes: LedgerChanges
) -> None:
    """Settle what stands; what was not known counts as announced and settled."""
    for state in (SETTLED, FAILED):
        wanted = {
            one.message_id: one.queue
            for one in batch.settled
            if (FAILED if one.failed else SETTLED) == state
        }
        for part in parts(list(wanted)):
            changed = await connection.execute(
                update(messages)
                .where(among(scope_id), messages.c.state == STANDING)
                .values(state=state, claimed=0)
                .returning(messages.c.message_id, messages.c.queue),
                {"ids": part},
            )
            settled = [(row.message_id, row.queue) for row in changed]
            found = {message_id for message_id, _ in settled}
            rows = [
                _row(scope_id, message_id, wanted[message_id], state)
                for message_id in part
                if message_id not in found
            ]
            early = await _insert(connection, rows)
            for _, queue in early:
                changes.count(queue).announced += 1
            for _, queue in [*settled, *early]:
                changes.count(queue).settled += 1
                changes.count(queue).failed += state == FAILED


async def _look_up(
    connection: AsyncConnection, scope_id: int, ids: Sequence[str], changes: LedgerChanges
) -> None:
    wanted = select(
        messages.c.message_id, messages.c.queue, messages.c.state, messages.c.crashes
    ).where(among(scope_id))
    for part in parts(ids):
        for row in await connection.execute(wanted, {"ids": part}):
            entry = LedgerEntry(row.queue, row.state != STANDING, row.crashes)
            changes.known[row.message_id] = entry


async def _keep_counts(connection: AsyncConnection, scope_id: int, changes: LedgerChanges) -> None:
    rows = [
        {
            "scope": scope_id,
            "name": name,
            "announced": count.announced,
            "settled": count.settled,
            "failed": count.failed,
            "made": 0,
        }
        for name, count in sorted(changes.counts.items())
    ]
    for row in rows:
        statement = dialect_insert(connection)(queues).values(row)
        columns = ("announced", "settled", "failed")
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["scope", "name"],
                set_={name: queues.c[name] + statement.excluded[name] for name in columns},
            )
        )


def _row(scope_id: int, message_id: str, queue: str, state: int) -> dict[str, Any]:
    return {
        "scope": scope_id,
        "message_id": message_id,
        "queue": queue,
        "state": state,
        "claimed": 0,
        "crashes": 0,
    }


async def _insert(connection: AsyncConnection, rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Insert what is not there yet; return ids and queues of what was new."""
    if not rows:
        return []
    statement: Insert = (
        dialect_insert(connection)(messages)
        .on_conflict_do_nothing()
        .returning(messages.c.message_id, messages.c.queue)
    )
    return [(row.message_id, row.queue) for row in await connection.execute(statement, rows)]
