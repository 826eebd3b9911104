"""The ledger's statements: scopes taken over and let go, batches committed, messages looked up.

Every write of an owner carries its epoch, and changes nothing when a newer owner has taken the scope over.
Members write who handles what, and the names of queues. Nothing is kept in memory here.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Row, Select, and_, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_foundation.whole import whole
from factflow_infra.queue.ledger import claims, schema
from factflow_infra.queue.ledger.batch import (
    LedgerBatch,
    LedgerChanges,
    LedgerEntry,
    QueueCount,
    ScopeEntry,
)
from factflow_infra.queue.ledger.batch_writer import write_batch
from factflow_infra.queue.ledger.parts import among, dialect_insert, parts
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

ROWS_PER_PURGE = 20_000


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
    a message once the ledger says that it is settled. `claimant` is this process, for what it claims.

    Every method raises `QueueUnavailableError` when the database does not answer.
    """

    def __init__(self, engine: AsyncEngine, claimant: int = 0) -> None:
        self.claimant = claimant
        self._engine = engine

    @_uncut
    async def start(self) -> None:
        """Bring the tables up to date. Raises `DatabaseNewerError` too."""
        with _told_as_queue_trouble():
            await bring_up_to_date(self._engine, schema)

    @_uncut
    async def open(self, scope: QueueScope, *, publisher: bool, boot: str | None) -> ScopeEntry:
        """Find or make a scope, and own it from now on.

        When its last owner did not let go of it in order, the scope has crashed, and what processes that
        ended had claimed has one more in `crashes`. With `publisher` a publisher is announced, once.
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
                await claims.count_crashes(connection, row.id, self.claimant)
            row = (await connection.execute(_named(scope))).one()
            return await _entry(connection, row)

    @_uncut
    async def find(self, scope: QueueScope) -> ScopeEntry | None:
        """Return a scope as it stands, None for one that is not known or is being deleted."""
        async with self._begun() as connection:
            row = (await connection.execute(_named(scope))).one_or_none()
            return None if row is None else await _entry(connection, row)

    @_uncut
    async def name_queues(self, entry: ScopeEntry, names: Sequence[str]) -> list[str]:
        """Note that the scope has queues of these names; do it before they are made.

        Returns those that the broker was not given yet; none for a scope that was deleted.
        """
        row = {"scope": entry.id, "announced": 0, "settled": 0, "failed": 0, "made": 0}
        async with self._begun() as connection:
            if not await _stands(connection, entry):
                return []
            unnamed = dialect_insert(connection)(queues).on_conflict_do_nothing()
            await connection.execute(unnamed, [{**row, "name": name} for name in names])
            wanted = select(queues.c.name).where(
                queues.c.scope == entry.id, queues.c.name.in_(names), queues.c.made == 0
            )
            return list(await connection.scalars(wanted))

    @_uncut
    async def queues_made(self, entry: ScopeEntry, names: Sequence[str]) -> bool:
        """Note that the broker has these queues; False when the scope was deleted meanwhile, and nobody
        knows of them."""
        named = and_(queues.c.scope == entry.id, queues.c.name.in_(names))
        async with self._begun() as connection:
            if not await _stands(connection, entry):
                return False
            await connection.execute(update(queues).where(named).values(made=1))
            return True

    @_uncut
    async def commit(
        self, entry: ScopeEntry, scope: QueueScope, batch: LedgerBatch
    ) -> LedgerChanges:
        """Take in a batch in one transaction. Raises `ScopeTakenOverError`; does nothing for a scope
        that was deleted."""
        async with self._begun() as connection:
            if not await _check_owner(connection, entry, scope):
                return LedgerChanges()
            return await write_batch(connection, entry.id, batch, self.claimant)

    @_uncut
    async def entries(self, entry: ScopeEntry, ids: Sequence[str]) -> dict[str, LedgerEntry]:
        """Return what is known of these messages; unknown ones are left out."""
        found: dict[str, LedgerEntry] = {}
        wanted = select(messages).where(among(entry.id))
        async with self._begun() as connection:
            for part in parts(ids):
                for row in await connection.execute(wanted, {"ids": part}):
                    claimant = row.claimant if row.claimed else None
                    settled = row.state != STANDING
                    found[row.message_id] = LedgerEntry(
                        row.queue, settled, row.crashes, claimant, row.laps
                    )
        return found

    @_uncut
    async def note_lap(self, entry: ScopeEntry, message_id: str, laps: int) -> None:
        """Note that the broker has a message's next attempt: what comes of earlier ones is of no use."""
        earlier = and_(
            messages.c.scope == entry.id,
            messages.c.message_id == message_id,
            messages.c.laps < laps,
        )
        async with self._begun() as connection:
            await connection.execute(update(messages).where(earlier).values(laps=laps))

    @_uncut
    async def claim(self, entry: ScopeEntry, message_id: str) -> None:
        """Note that this process handles a message, whoever claimed it before."""
        async with self._begun() as connection:
            await claims.claim(connection, entry.id, [message_id], self.claimant)

    @_uncut
    async def unclaim(self, entry: ScopeEntry, ids: Sequence[str]) -> None:
        """Note that this process does not handle messages any more."""
        async with self._begun() as connection:
            await claims.unclaim(connection, entry.id, ids, self.claimant)

    @_uncut
    async def count_crashes(
        self, entry: ScopeEntry, claimed: Mapping[str, int]
    ) -> Mapping[str, int | None]:
        """Look at messages claimed by others: count one more crash for each whose claimant has ended, and
        return how many it has then, None where somebody else has just seen to it. Those of the living are
        left out."""
        async with self._begun() as connection:
            dead = await claims.dead_among(connection, set(claimed.values()), self.claimant)
            if not dead:
                return {}
            left = [message_id for message_id, claimant in claimed.items() if claimant in dead]
            counted = await claims.count_crashes_of(connection, entry.id, left, dead)
            return {message_id: counted.get(message_id) for message_id in left}

    @_uncut
    async def let_go(self, entry: ScopeEntry) -> None:
        """End an ownership in order: nothing that was claimed is to blame for it."""
        async with self._begun() as connection:
            mine = and_(scopes.c.id == entry.id, scopes.c.owner_epoch == entry.epoch)
            done = await connection.execute(update(scopes).where(mine).values(clean=1))
            if done.rowcount:
                await claims.unclaim_all(connection, entry.id, self.claimant)

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
            async with self._engine.begin() as connection:
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


async def _stands(connection: AsyncConnection, entry: ScopeEntry) -> bool:
    """Keep others from deleting the scope until the transaction ends; False when it is being deleted."""
    standing = select(scopes.c.id).where(scopes.c.id == entry.id, scopes.c.doomed == 0)
    return await connection.scalar(standing.with_for_update()) is not None


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
    rows = counted.all()
    return ScopeEntry(
        id=row.id,
        epoch=row.owner_epoch,
        publisher=row.publisher,
        cursor=row.cursor,
        crashed=bool(row.crashed),
        boot=row.boot,
        counts={
            found.name: QueueCount(found.announced, found.settled, found.failed) for found in rows
        },
        made=frozenset(found.name for found in rows if found.made),
    )
