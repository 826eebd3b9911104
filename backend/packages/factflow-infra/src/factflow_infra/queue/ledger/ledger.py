"""The ledger's statements: scopes taken over and let go, batches committed, messages looked up.

Every write of a scope carries the epoch of its owner, and changes nothing when a newer owner has taken the
scope over. Nothing is kept in memory here.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Row, Select, Update, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_foundation.whole import whole
from factflow_infra.queue.ledger import schema
from factflow_infra.queue.ledger.batch import (
    LedgerBatch,
    LedgerChanges,
    LedgerEntry,
    QueueCount,
    ScopeEntry,
)
from factflow_infra.queue.ledger.batch_writer import note_lap, write_batch
from factflow_infra.queue.ledger.tables import (
    PUBLISHER_NONE,
    PUBLISHER_OPEN,
    STANDING,
    messages,
    queues,
    scopes,
)
from factflow_infra.schema import bring_up_to_date
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import QueueScope

P = ParamSpec("P")
T = TypeVar("T")

IDS_PER_STATEMENT = 500
ROWS_PER_PURGE = 20_000


class ScopeGoneError(QueueError):
    """Nobody has opened the execution's queues, or they were deleted."""

    code = "queue_gone"

    def __init__(self, scope: QueueScope) -> None:
        super().__init__(
            f"execution {scope.execution_id} has no queues in generation {scope.generation}",
            hint="they are made when the execution starts and go when it ends",
        )


class ScopeTakenOverError(QueueError):
    """Another server owns the execution's queues by now; this one must leave them alone."""

    code = "queue_taken_over"

    def __init__(self, scope: QueueScope) -> None:
        super().__init__(
            f"another server has taken over the queues of execution {scope.execution_id}",
            hint="let that server go on with it; restart this one if it should not have happened",
        )


def _uncut(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Have a transaction come to its end when its caller is cancelled: a connection given up in the middle
    may hold the lock of an SQLite file for seconds."""

    @functools.wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return await whole(method(*args, **kwargs))

    return call


class Ledger:
    """Any SQLAlchemy engine serves, as long as what it commits survives the machine: the broker forgets
    a message once the ledger says that it is settled.

    Every method raises `QueueUnavailableError` when the database does not answer.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @_uncut
    async def start(self) -> None:
        """Bring the tables up to date. Raises `DatabaseNewerError` too."""
        with _told_as_queue_trouble():
            await bring_up_to_date(self.engine, schema)

    @_uncut
    async def open(self, scope: QueueScope, *, publisher: bool, boot: str | None) -> ScopeEntry:
        """Find or make a scope, and own it from now on.

        When its last owner did not let go of it in order, the scope has crashed, and what was claimed
        then has one more in `crashes`. With `publisher` a publisher is announced, once.
        """
        async with self._begun() as connection:
            row = (await connection.execute(_named(scope).with_for_update())).one_or_none()
            if row is None:
                await connection.execute(
                    insert(scopes).values(
                        execution_id=scope.execution_id,
                        generation=scope.generation,
                        owner_epoch=0,
                        publisher=PUBLISHER_NONE,
                        cursor=0,
                        clean=1,
                        crashed=0,
                        doomed=0,
                    )
                )
                row = (await connection.execute(_named(scope).with_for_update())).one()
            opened = publisher and row.publisher == PUBLISHER_NONE
            values = {
                "owner_epoch": row.owner_epoch + 1,
                "publisher": PUBLISHER_OPEN if opened else row.publisher,
                "crashed": 1 if row.crashed or not row.clean else 0,
                "clean": 0,
                "boot": boot,
            }
            await connection.execute(update(scopes).where(scopes.c.id == row.id).values(values))
            if not row.clean:
                by_owner = _claimed(row.id).where(messages.c.claimant.is_(None))
                await connection.execute(by_owner.values(claimed=0, crashes=messages.c.crashes + 1))
            row = (await connection.execute(_named(scope))).one()
            return await _entry(connection, row)

    @_uncut
    async def find(self, scope: QueueScope) -> ScopeEntry | None:
        """Return a scope as it stands, None for one that is not known or is being deleted."""
        async with self._begun() as connection:
            row = (await connection.execute(_named(scope))).one_or_none()
            return None if row is None else await _entry(connection, row)

    @_uncut
    async def name_queues(self, entry: ScopeEntry, scope: QueueScope, names: Sequence[str]) -> None:
        """Note that the scope has queues of these names; do it before they are made."""
        async with self._begun() as connection:
            await _check_owner(connection, entry, scope)
            known = set(
                await connection.scalars(select(queues.c.name).where(queues.c.scope == entry.id))
            )
            rows = [
                {"scope": entry.id, "name": name, "announced": 0, "settled": 0, "failed": 0}
                for name in names
                if name not in known
            ]
            if rows:
                await connection.execute(insert(queues), rows)

    @_uncut
    async def commit(
        self, entry: ScopeEntry, scope: QueueScope, batch: LedgerBatch
    ) -> LedgerChanges:
        """Take in a batch in one transaction. Raises `ScopeTakenOverError`; does nothing for a scope
        that was deleted."""
        async with self._begun() as connection:
            if not await _check_owner(connection, entry, scope):
                return LedgerChanges()
            return await write_batch(connection, entry.id, batch)

    @_uncut
    async def name_more_queues(
        self, entry: ScopeEntry, scope: QueueScope, names: Sequence[str]
    ) -> None:
        """Note queues as one who does not own the scope. Raises `QueueError` when it was deleted."""
        async with self._begun() as connection:
            row = (await connection.execute(_named(scope).with_for_update())).one_or_none()
            if row is None or row.id != entry.id:
                raise ScopeGoneError(scope)
            rows = [
                {"scope": entry.id, "name": name, "announced": 0, "settled": 0, "failed": 0}
                for name in sorted(names)
            ]
            await connection.execute(postgresql.insert(queues).on_conflict_do_nothing(), rows)

    @_uncut
    async def claim(self, entry: ScopeEntry, ids: Sequence[str], claimant: int) -> None:
        """Note that one who does not own the scope handles messages that stand."""
        async with self._begun() as connection:
            await connection.execute(_standing(entry.id, ids).values(claimed=1, claimant=claimant))

    @_uncut
    async def unclaim(self, entry: ScopeEntry, ids: Sequence[str], claimant: int) -> None:
        """Note that it handles them no more."""
        mine = _standing(entry.id, ids).where(messages.c.claimant == claimant)
        async with self._begun() as connection:
            await connection.execute(mine.values(claimed=0, claimant=None))

    @_uncut
    async def note_lap(self, entry: ScopeEntry, message_id: str, laps: int) -> None:
        """Note, as one who does not own the scope, that a message was replaced by its next attempt."""
        async with self._begun() as connection:
            await note_lap(connection, entry.id, message_id, laps)

    @_uncut
    async def entries(
        self, entry: ScopeEntry, ids: Sequence[str], *, blame: bool = False
    ) -> dict[str, LedgerEntry]:
        """Return what is known of these messages; unknown ones are left out.

        With `blame` those that a process claimed which is dead by now have one more in `crashes` from
        here on: they came again, and are claimed by nobody any more.
        """
        found: dict[str, LedgerEntry] = {}
        wanted = select(
            messages.c.message_id,
            messages.c.queue,
            messages.c.state,
            messages.c.crashes,
            messages.c.laps,
        ).where(
            messages.c.scope == entry.id,
            messages.c.message_id.in_(bindparam("ids", expanding=True)),
        )
        async with self._begun() as connection:
            for first in range(0, len(ids), IDS_PER_STATEMENT):
                part = list(ids[first : first + IDS_PER_STATEMENT])
                if blame and connection.dialect.name == "postgresql":
                    await _blame(connection, entry.id, part)
                for row in await connection.execute(wanted, {"ids": part}):
                    settled = row.state != STANDING
                    found[row.message_id] = LedgerEntry(row.queue, settled, row.crashes, row.laps)
        return found

    @_uncut
    async def let_go(self, entry: ScopeEntry) -> None:
        """End an ownership in order: nothing that was claimed is to blame for it."""
        async with self._begun() as connection:
            mine = and_(scopes.c.id == entry.id, scopes.c.owner_epoch == entry.epoch)
            done = await connection.execute(update(scopes).where(mine).values(clean=1))
            if done.rowcount:
                by_owner = _claimed(entry.id).where(messages.c.claimant.is_(None))
                await connection.execute(by_owner.values(claimed=0))

    @_uncut
    async def doom(self, scope: QueueScope) -> tuple[int, list[str]] | None:
        """Begin a scope's deletion: nobody finds it any more, and its owner writes nothing.

        Returns its id and the names of its queues; None when there is no such scope. Repeatable until
        `purge` is done.
        """
        async with self._begun() as connection:
            name = and_(
                scopes.c.execution_id == scope.execution_id,
                scopes.c.generation == scope.generation,
            )
            scope_id = await connection.scalar(select(scopes.c.id).where(name))
            if scope_id is None:
                return None
            await connection.execute(update(scopes).where(name).values(doomed=1))
            names = select(queues.c.name).where(queues.c.scope == scope_id)
            return scope_id, list(await connection.scalars(names))

    async def scopes(self) -> list[QueueScope]:
        """Return the scopes that are known and not being deleted."""
        return await self._scopes(doomed=0)

    async def doomed(self) -> list[QueueScope]:
        """Return the scopes whose deletion was begun and not finished."""
        return await self._scopes(doomed=1)

    @_uncut
    async def _scopes(self, *, doomed: int) -> list[QueueScope]:
        columns = (scopes.c.execution_id, scopes.c.generation)
        async with self._begun() as connection:
            rows = await connection.execute(select(*columns).where(scopes.c.doomed == doomed))
            return [QueueScope(*row) for row in rows]

    async def purge(self, scope_id: int) -> None:
        """Remove a doomed scope, in transactions of bounded size."""
        while await self._purge_some(scope_id):
            pass

    @_uncut
    async def _purge_some(self, scope_id: int) -> bool:
        """Remove some messages, or the scope when there are none; tell whether to go on."""
        part = select(messages.c.message_id).where(messages.c.scope == scope_id)
        ids = part.limit(ROWS_PER_PURGE).scalar_subquery()
        some = delete(messages).where(messages.c.scope == scope_id, messages.c.message_id.in_(ids))
        async with self._begun() as connection:
            if (await connection.execute(some)).rowcount:
                return True
            await connection.execute(delete(queues).where(queues.c.scope == scope_id))
            await connection.execute(delete(scopes).where(scopes.c.id == scope_id))
            return False

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[AsyncConnection]:
        with _told_as_queue_trouble():
            async with self.engine.begin() as connection:
                yield connection


@contextmanager
def _told_as_queue_trouble() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        reason = getattr(error, "orig", None) or error
        raise QueueUnavailableError(
            f"the ledger of the queues cannot be used now: {reason}",
            hint="see to its database; it is tried again",
        ) from error


def _named(scope: QueueScope) -> Select[Any]:
    return select(scopes).where(
        scopes.c.execution_id == scope.execution_id,
        scopes.c.generation == scope.generation,
        scopes.c.doomed == 0,
    )


def _claimed(scope_id: int) -> Update:
    return update(messages).where(messages.c.scope == scope_id, messages.c.claimed == 1)


def _standing(scope_id: int, ids: Sequence[str]) -> Update:
    return update(messages).where(
        messages.c.scope == scope_id,
        messages.c.message_id.in_(list(ids)),
        messages.c.state == STANDING,
    )


async def _blame(connection: AsyncConnection, scope_id: int, ids: Sequence[str]) -> None:
    """Count a crash for messages whose claimant is dead: the lock that it holds while it lives is free."""
    claimed = _standing(scope_id, ids).where(messages.c.claimed == 1)
    query = select(messages.c.claimant).where(
        messages.c.scope == scope_id,
        messages.c.message_id.in_(list(ids)),
        messages.c.claimed == 1,
        messages.c.claimant.is_not(None),
    )
    for claimant in sorted(set(await connection.scalars(query))):
        if await connection.scalar(select(func.pg_try_advisory_xact_lock(claimant))):
            theirs = claimed.where(messages.c.claimant == claimant)
            await connection.execute(
                theirs.values(claimed=0, claimant=None, crashes=messages.c.crashes + 1)
            )


async def _check_owner(connection: AsyncConnection, entry: ScopeEntry, scope: QueueScope) -> bool:
    """Keep others from taking the scope over until the transaction ends; False when it was deleted."""
    row = (
        await connection.execute(
            select(scopes.c.owner_epoch, scopes.c.doomed)
            .where(scopes.c.id == entry.id)
            .with_for_update()
        )
    ).one_or_none()
    if row is None or row.doomed:
        return False
    if row.owner_epoch != entry.epoch:
        raise ScopeTakenOverError(scope)
    return True


async def _entry(connection: AsyncConnection, row: Row[Any]) -> ScopeEntry:
    counted = await connection.execute(select(queues).where(queues.c.scope == row.id))
    return ScopeEntry(
        id=row.id,
        epoch=row.owner_epoch,
        publisher=row.publisher,
        cursor=row.cursor,
        crashed=bool(row.crashed),
        boot=row.boot,
        counts={
            found.name: QueueCount(found.announced, found.settled, found.failed)
            for found in counted
        },
    )
