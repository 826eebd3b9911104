"""Queues in RabbitMQ; what they promise stands in `factflow_protocols.queue`.

The broker holds messages, the ledger says what was announced and what settled. Different from the embedded
queue, a message may come twice: then it comes as a repeat, and never once the ledger knows that it settled.
After an unclean end only what the broker had handed out is a repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation import logs
from factflow_foundation.clock import Clock, SystemClock
from factflow_infra.queue.consumer import QueueConsumer
from factflow_infra.queue.ledger import Ledger, ScopeMember, ScopeOwner
from factflow_infra.queue.ledger.batch import QueueCount, ScopeEntry
from factflow_infra.queue.ledger.ledger import ScopeGoneError
from factflow_infra.queue.ledger.presence import Presence
from factflow_infra.queue.ledger.tables import (
    PUBLISHER_ENDED,
    PUBLISHER_NONE,
    PUBLISHER_OPEN,
)
from factflow_infra.queue.rabbitmq import naming
from factflow_infra.queue.rabbitmq.scope import BrokerScope
from factflow_infra.queue.rabbitmq.session import BrokerSession
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import (
    PREFETCH,
    Delivery,
    MessagePlace,
    OutgoingMessage,
    Progress,
    QueueDepth,
    QueueScope,
)

SEEN_SECONDS = 2.0
"""How long a question waits for settles that are on their way, before it is answered without them."""

_NOTHING = Progress(0, 0, 0)
T = TypeVar("T")

log = logs.logger(__name__)


class RabbitQueue:
    """Fulfils `QueueProtocol` with a broker at `url` (`amqp://user:password@host:port/vhost`) and a ledger in
    any database; what that commits has to survive the machine.

    With `boot` given, scopes count as lost once it is another one: storage may lack what they say is done.
    """

    def __init__(
        self, url: str, ledger: AsyncEngine, clock: Clock | None = None, *, boot: str | None = None
    ) -> None:
        self._session = BrokerSession(url)
        self._ledger = Ledger(ledger)
        self._presence = Presence(ledger)
        self._clock = clock or SystemClock()
        self._boot = boot
        self._scopes: dict[QueueScope, BrokerScope] = {}
        self._opening = asyncio.Lock()
        self._started = False
        self._starting = asyncio.Lock()
        self._clearing: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect to the broker and make the ledger; later calls return at once.

        Raises `QueueUnavailableError` when either cannot be reached.
        """
        if self._closing is not None:
            raise QueueUnavailableError("the queue is closed", hint="start the server")
        if self._started:
            return
        async with self._starting:
            if not self._started:
                await self._ledger.start()
                await self._session.start()
                self._started = True
                self._clearing = asyncio.create_task(self._clear(), name="queue deletions")

    async def open(self, scope: QueueScope, *, publisher: bool = False) -> Progress:
        """Make the scope known and own it, or find it as it was left; return its progress."""
        await self.start()
        async with self._opening:
            state = self._scopes.get(scope)
            if state is None:
                entry = await self._ledger.open(scope, publisher=publisher, boot=self._boot)
                owner = ScopeOwner(self._ledger, scope, entry)
                state = BrokerScope(self._session, owner, self._clock.now)
                try:
                    await state.start()
                except BaseException:
                    await state.end()
                    with contextlib.suppress(QueueUnavailableError):
                        await owner.let_go()
                    raise
                self._scopes[scope] = state
            elif publisher and self._owned(state).publisher == PUBLISHER_NONE:
                await self._owned(state).set_publisher(PUBLISHER_OPEN)
        return self._owned(state).progress

    async def join(self, scope: QueueScope) -> None:
        """Take part in a scope that another process opened. Raises `QueueError` when nobody did, or when
        the ledger is a file of this process's own."""
        await self.start()
        async with self._opening:
            if scope in self._scopes:
                return
            entry = await self._ledger.find(scope)
            if entry is None:
                raise ScopeGoneError(scope)
            await self._show_presence()
            member = ScopeMember(self._ledger, scope, entry, self._presence.number)
            state = BrokerScope(self._session, member, self._clock.now)
            try:
                await state.start()
            except BaseException:
                await state.end()
                raise
            self._scopes[scope] = state

    async def leave(self, scope: QueueScope) -> None:
        """Take part no more, or own it no more: what is in hand goes back to the broker."""
        state = self._scopes.pop(scope, None)
        if state is not None:
            await self._let_go(state)

    async def refresh(self, scope: QueueScope) -> None:
        """Bring the depths of a joined scope up to date."""
        state = self._scopes.get(scope)
        if state is not None and isinstance(state.owner, ScopeMember):
            await state.owner.refresh()

    def subscribe(
        self, scope: QueueScope, queue: str, *, prefetch: int = PREFETCH
    ) -> QueueConsumer:
        """Start consuming a queue of an opened scope; messages published before count too."""
        if self._closing is not None:
            raise QueueUnavailableError("the queue is closed", hint="start the server")
        return self._known(scope).subscribe(queue, prefetch)

    async def publish(
        self, scope: QueueScope, messages: Sequence[OutgoingMessage], *, cursor: int | None = None
    ) -> None:
        """Announce and enqueue; `cursor` is kept once the broker has confirmed all of them."""
        await self.start()
        await _whole(self._known(scope).publish(messages, cursor))

    async def publisher_cursor(self, scope: QueueScope) -> int:
        """Return the position kept by the last `publish(cursor=…)`, 0 when there is none."""
        await self.start()
        state = self._scopes.get(scope)
        return 0 if state is None else self._owned(state).cursor

    async def end_publishing(self, scope: QueueScope) -> None:
        """Settle the publisher; without one, or repeated, it changes nothing."""
        await self.start()
        state = self._scopes.get(scope)
        if state is None:
            return
        owner = self._owned(state)
        if owner.publisher == PUBLISHER_OPEN:
            await _whole(owner.set_publisher(PUBLISHER_ENDED))

    async def claim(self, delivery: Delivery) -> None:
        """Note that the message's handling begins; costs nothing before the scope's first crash, nor, where
        the scope is another's, for a message that comes for the first time."""
        state = self._scopes.get(delivery.scope)
        if state is not None and state.owner.claims(delivery):
            await _whole(state.claim(delivery))

    async def settle(
        self, delivery: Delivery, *, children: Sequence[OutgoingMessage] = (), failed: bool = False
    ) -> None:
        """Children in, message out. What was cut off on the way is done when it is called again, or when the
        message comes again."""
        await self.start()
        state = self._scopes.get(delivery.scope)
        if state is not None:
            await _whole(state.settle(delivery, children, failed=failed))

    async def put_back(self, delivery: Delivery, body: bytes, not_before: float) -> None:
        """Replace the message by its next attempt; one that is not in hand stays as it is."""
        await self.start()
        state = self._scopes.get(delivery.scope)
        if state is not None:
            await _whole(state.put_back(delivery, body, not_before))

    async def release(self, delivery: Delivery) -> None:
        """Give the message back untouched; one that is not in hand stays as it is."""
        await self.start()
        state = self._scopes.get(delivery.scope)
        if state is not None:
            await _whole(state.release(delivery))

    async def progress(self, scope: QueueScope) -> Progress:
        """Return the scope's counts, with all that was settled here before; an unknown scope has none.

        Asked about an unknown scope it raises `QueueUnavailableError` while broker or ledger do not
        answer; the counts of a known one are in memory.
        """
        await self.start()
        state = self._scopes.get(scope)
        if state is None:
            self._session.check_consuming()
            await self._ledger.find(scope)
            return _NOTHING
        await state.owner.caught_up(SEEN_SECONDS)
        return self._owned(state).progress

    async def find(self, scope: QueueScope) -> Progress | None:
        """Return the progress of a scope that was opened before; None when it was deleted, when the broker
        lost one of its queues, or when the machine went down under it and `boot` tells so. What is left of
        a lost one is deleted."""
        await self.start()
        state = self._scopes.get(scope)
        if state is not None:
            return self._owned(state).progress
        entry = await self._ledger.find(scope)
        if entry is None:
            return None
        if entry.boot not in {None, self._boot} or not await self._all_there(scope, entry):
            await self.delete(
                scope
            )  # nobody will ask for it again: its execution goes on in new queues
            return None
        return _progress(entry)

    async def scopes(self) -> Sequence[QueueScope]:
        """Return the scopes that were opened and not deleted, whoever owns them."""
        await self.start()
        return await self._ledger.scopes()

    async def find_message(self, scope: QueueScope, message_id: str) -> MessagePlace | None:
        """Return where a message stands. A broker cannot be asked for one message: the body of a ready one is
        known when it came to this process; one that waits for its time shows as ready when another process
        had it wait."""
        await self.start()
        state = self._scopes.get(scope)
        if state is None:
            return await self._find_closed(scope, message_id)
        await state.owner.caught_up(SEEN_SECONDS)
        entry = (await state.owner.entries([message_id])).get(message_id)
        if entry is None:
            return None
        if entry.settled:
            return MessagePlace(entry.queue, "settled", crashes=entry.crashes)
        return state.place(message_id, entry.queue, entry.crashes)

    async def wait_drained(self, scope: QueueScope) -> Progress:
        """Return once nothing is outstanding. Ends with `asyncio.CancelledError` when the scope is
        deleted or the queue closed meanwhile."""
        await self.start()
        state = self._scopes.get(scope)
        return _NOTHING if state is None else await self._owned(state).drained()

    def depths(self, scope: QueueScope) -> Mapping[str, QueueDepth]:
        """Return what stands in each queue of the scope. What other processes have in hand counts as
        ready."""
        state = self._scopes.get(scope)
        return {} if state is None else state.depths()

    async def delete(self, scope: QueueScope) -> None:
        """Forget the scope: queues at the broker first, then its rows. What is cut off on the way is
        finished by the next call, or at the next start."""
        await self.start()
        state = self._scopes.pop(scope, None)
        if state is not None:
            await state.end()
        doomed = await self._ledger.doom(scope)
        if doomed is None:
            return
        scope_id, names = doomed
        async with self._session.lent_channel() as channel:
            for name in names:
                await channel.queue_delete(naming.broker_name(scope, name))
        await self._ledger.purge(scope_id)

    async def close(self) -> None:
        """Finish what is under way and let go of the broker; repeated calls wait for the first."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    # -- inside

    async def _close(self) -> None:
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.gather(self._clearing, return_exceptions=True)
        for state in self._scopes.values():
            await self._let_go(state)
        await self._session.close()
        await self._presence.close()

    @staticmethod
    async def _let_go(state: BrokerScope) -> None:
        await state.end()
        if isinstance(state.owner, ScopeOwner):
            with contextlib.suppress(QueueUnavailableError):  # then its next owner finds it unclean
                await state.owner.let_go()

    @staticmethod
    def _owned(state: BrokerScope) -> ScopeOwner:
        """Return the owner of a scope that is owned here."""
        if isinstance(state.owner, ScopeOwner):
            return state.owner
        raise QueueError(
            f"execution {state.owner.scope.execution_id} is another server's: it is only joined here",
            hint="ask the server that runs it",
        )

    async def _show_presence(self) -> None:
        if self._ledger.engine.dialect.name != "postgresql":
            raise QueueError(
                "the queues' ledger is a file of this process's own: others cannot join",
                hint="set FACTFLOW_DATABASE_URL to a PostgreSQL that all of them have",
            )
        try:
            await self._presence.show()
        except (SQLAlchemyError, OSError) as error:
            raise QueueUnavailableError(
                f"the ledger of the queues cannot be used now: {error}",
                hint="see to its database; it is tried again",
            ) from error

    async def _clear(self) -> None:
        """Finish the deletions that an earlier run left; what fails now is left to the next one."""
        try:
            for scope in await self._ledger.doomed():
                await self.delete(scope)
        except QueueUnavailableError as error:
            log.warning("queues are left to be deleted", reason=error.message)

    def _known(self, scope: QueueScope) -> BrokerScope:
        state = self._scopes.get(scope)
        if state is None:
            raise QueueError(
                f"execution {scope.execution_id} has no queues in generation {scope.generation}",
                hint="they are made when the execution starts and go when it ends",
            )
        return state

    async def _find_closed(self, scope: QueueScope, message_id: str) -> MessagePlace | None:
        """Find a message of a scope that nobody opened here."""
        scope_entry = await self._ledger.find(scope)
        if scope_entry is None:
            return None
        entry = (await self._ledger.entries(scope_entry, [message_id])).get(message_id)
        if entry is None:
            return None
        if entry.settled:
            return MessagePlace(entry.queue, "settled", crashes=entry.crashes)
        return MessagePlace(entry.queue, "ready", ahead=None, crashes=entry.crashes)

    async def _all_there(self, scope: QueueScope, entry: ScopeEntry) -> bool:
        """Tell whether the broker still has every queue of a scope."""
        from aio_pika.exceptions import ChannelNotFoundEntity

        async with self._session.lent_channel() as channel:
            for name in entry.counts:
                try:
                    await channel.get_queue(naming.broker_name(scope, name), ensure=True)
                except ChannelNotFoundEntity:
                    return False
        return True


async def _whole(act: Awaitable[T]) -> T:
    """Have an act go on to its end when its caller gives up."""
    task: asyncio.Future[Any] = asyncio.ensure_future(act)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    result: T = await asyncio.shield(task)
    return result


def _progress(entry: ScopeEntry) -> Progress:
    total = QueueCount()
    for count in entry.counts.values():
        total.add(count)
    has, ended = entry.publisher != PUBLISHER_NONE, entry.publisher == PUBLISHER_ENDED
    return Progress(total.announced + has, total.settled + ended, total.failed)
