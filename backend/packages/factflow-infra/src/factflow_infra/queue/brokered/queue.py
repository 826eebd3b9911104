"""Queues in a broker; what they promise stands in `factflow_protocols.queue`.

The broker holds messages, the ledger says what was announced and what settled. Different from the embedded
queue, a message may come twice: then it comes as a repeat, and never once the ledger knows that it settled.
After an unclean end only what the broker had handed out is a repeat. A scope has one owner, which opened it,
and any number of members, which joined it; members need a ledger in PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation import logs
from factflow_foundation.clock import Clock, SystemClock
from factflow_infra.queue import refusals
from factflow_infra.queue.brokered.scope import BrokerScope
from factflow_infra.queue.brokered.transport import Transport
from factflow_infra.queue.consumer import QueueConsumer
from factflow_infra.queue.ledger import Ledger, Presence, ScopeMember, ScopeOwner
from factflow_infra.queue.ledger.tables import (
    PUBLISHER_ENDED,
    PUBLISHER_NONE,
    PUBLISHER_OPEN,
)
from factflow_protocols.errors import QueueUnavailableError
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


class BrokeredQueue:
    """Fulfils `QueueProtocol` with the broker behind `transport`, whose only user it is, and a ledger in any
    database; what that commits has to survive the machine.

    With `boot` given, scopes count as lost once it is another one: storage may lack what they say is done.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: AsyncEngine,
        clock: Clock | None = None,
        *,
        boot: str | None = None,
    ) -> None:
        self._transport = transport
        self._presence = Presence(ledger)
        self._ledger = Ledger(ledger, self._presence.claimant)
        self._clock = clock or SystemClock()
        self._boot = boot
        self._scopes: dict[QueueScope, BrokerScope] = {}
        self._opening = asyncio.Lock()
        self._started = False
        self._starting = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
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
                await self._presence.start()
                await self._transport.start()
                self._started = True
                self._clearing = asyncio.create_task(self._clear(), name="queue deletions")

    async def open(self, scope: QueueScope, *, publisher: bool = False) -> Progress:
        """Make the scope known and own it, or find it as it was left; return its progress."""
        await self.start()
        async with self._opening:
            owner = self._owner(scope)
            if owner is None:
                await self.leave(scope)
                owner = await self._own(scope, publisher=publisher)
            elif publisher and owner.publisher == PUBLISHER_NONE:
                await owner.set_publisher(PUBLISHER_OPEN)
        return owner.progress

    async def join(self, scope: QueueScope) -> None:
        """Take part in a scope that another process opened, until it is left or deleted."""
        await self.start()
        if not self._presence.shared:
            raise refusals.ledger_not_shared()
        async with self._opening:
            if scope in self._scopes:
                return
            entry = await self._ledger.find(scope)
            if entry is None:
                raise refusals.no_queues(scope)
            member = ScopeMember(self._ledger, scope, entry)
            state = BrokerScope(self._transport, member, self._clock.now)
            state.on_gone = lambda: self._leave_later(state)
            self._scopes[scope] = state

    async def leave(self, scope: QueueScope) -> None:
        """Take no more part in a scope, joined or owned; what is in hand goes back to the others."""
        state = self._scopes.pop(scope, None)
        if state is not None:
            await self._let_go(state)

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
        state = self._known(scope)
        if cursor is not None and state.owner is None:
            raise refusals.not_owned(scope)
        await _whole(state.publish(messages, cursor))

    async def publisher_cursor(self, scope: QueueScope) -> int:
        """Return the position kept by the last `publish(cursor=…)`, 0 when there is none."""
        await self.start()
        owner = self._owner(scope)
        return 0 if owner is None else owner.cursor

    async def end_publishing(self, scope: QueueScope) -> None:
        """Settle the publisher; without one, or repeated, it changes nothing."""
        await self.start()
        owner = self._owner(scope)
        if owner is not None and owner.publisher == PUBLISHER_OPEN:
            await _whole(owner.set_publisher(PUBLISHER_ENDED))

    async def claim(self, delivery: Delivery) -> None:
        """Note that the message's handling begins; costs nothing for a fresh one before a crash."""
        state = self._scopes.get(delivery.scope)
        if state is not None and state.part.to_be_claimed(delivery):
            await _whole(state.claim(delivery))

    async def settle(
        self, delivery: Delivery, *, children: Sequence[OutgoingMessage] = (), failed: bool = False
    ) -> None:
        """Children in, message out. What was cut off on the way is done when it is called again, or when the
        message comes again."""
        await self.start()
        state = self._scopes.get(delivery.scope)
        if state is not None:
            await self._unless_gone(state, state.settle(delivery, children, failed=failed))

    async def put_back(self, delivery: Delivery, body: bytes, not_before: float) -> None:
        """Replace the message by its next attempt; one that is not in hand stays as it is."""
        await self.start()
        state = self._scopes.get(delivery.scope)
        if state is not None:
            await self._unless_gone(state, state.put_back(delivery, body, not_before))

    async def release(self, delivery: Delivery) -> None:
        """Give the message back untouched; one that is not in hand stays as it is."""
        await self.start()
        state = self._scopes.get(delivery.scope)
        if state is not None:
            await _whole(state.release(delivery))

    async def progress(self, scope: QueueScope) -> Progress:
        """Return the scope's counts, with all that was settled here before; an unknown scope has none.

        Asked about an unknown scope it raises `QueueUnavailableError` while broker or ledger do not
        answer; the counts of an owned one are in memory. A member tells what its owner has taken in.
        """
        await self.start()
        owner = self._owner(scope)
        if owner is None:
            self._transport.check_consuming()
            entry = await self._ledger.find(scope)
            return entry.progress if entry is not None and scope in self._scopes else _NOTHING
        await owner.caught_up(SEEN_SECONDS)
        return owner.progress

    async def find(self, scope: QueueScope) -> Progress | None:
        """Return the progress of a scope that was opened before; None when it was deleted, when the broker
        lost one of its queues, or when the machine went down under it and `boot` tells so. What is left of
        a lost one is deleted."""
        await self.start()
        owner = self._owner(scope)
        if owner is not None:
            return owner.progress
        entry = await self._ledger.find(scope)
        if entry is None:
            return None
        if scope in self._scopes:
            return entry.progress  # others see to it
        if entry.boot not in {None, self._boot} or not await self._transport.all_there(
            scope, list(entry.made)
        ):
            await self.delete(
                scope
            )  # nobody will ask for it again: its execution goes on in new queues
            return None
        return entry.progress

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
        if state.owner is not None:
            await state.owner.caught_up(SEEN_SECONDS)
        entry = (await state.part.entries([message_id])).get(message_id)
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
        if state is None:
            return _NOTHING
        if state.owner is None:
            raise refusals.not_owned(scope)
        return await state.owner.drained()

    def depths(self, scope: QueueScope) -> Mapping[str, QueueDepth]:
        """Return what stands in each queue of the scope. What other processes have in hand counts as
        ready. A member's knowledge is a second old, or older when nobody asked for long."""
        state = self._scopes.get(scope)
        return {} if state is None else state.depths()

    def watch(self, scope: QueueScope, changed: Callable[[], None]) -> Callable[[], None]:
        """Have `changed` called when it is known that depths have changed; return what ends that."""
        return self._known(scope).part.watch(changed)

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
        await self._transport.remove(scope, names)
        await self._ledger.purge(scope_id)

    async def close(self) -> None:
        """Finish what is under way and let go of the broker; repeated calls wait for the first."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    @property
    def kind(self) -> str:
        """Return what the broker is called."""
        return self._transport.kind

    # -- inside

    async def _close(self) -> None:
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.gather(self._clearing, return_exceptions=True)
        for state in list(self._scopes.values()):
            await self._let_go(state)
        await asyncio.gather(*self._leaving)
        await self._transport.close()
        await self._presence.close()

    @staticmethod
    async def _let_go(state: BrokerScope) -> None:
        if state.owner is None:
            await state.leave()
            return
        await state.end()
        with contextlib.suppress(QueueUnavailableError):  # then its next owner finds it unclean
            await state.owner.let_go()

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
            raise refusals.no_queues(scope)
        return state

    def _owner(self, scope: QueueScope) -> ScopeOwner | None:
        """Return a scope's owner if it is this process."""
        state = self._scopes.get(scope)
        return None if state is None else state.owner

    async def _own(self, scope: QueueScope, *, publisher: bool) -> ScopeOwner:
        entry = await self._ledger.open(scope, publisher=publisher, boot=self._boot)
        owner = ScopeOwner(self._ledger, scope, entry)
        state = BrokerScope(self._transport, owner, self._clock.now)
        try:
            await state.start(owner)
        except BaseException:
            await state.end()
            with contextlib.suppress(QueueUnavailableError):
                await owner.let_go()
            raise
        self._scopes[scope] = state
        return owner

    async def _unless_gone(self, state: BrokerScope, act: Awaitable[None]) -> None:
        """Do what ends a handling; nothing when a member's scope was deleted by others meanwhile."""
        try:
            await _whole(act)
        except QueueUnavailableError:
            if state.member is None or await state.member.find() is not None:
                raise
            state.on_gone()

    def _leave_later(self, state: BrokerScope) -> None:
        """Leave a scope that was deleted by others."""
        scope = state.part.scope
        if self._scopes.get(scope) is state:
            log.info("joined queues were deleted", execution=scope.execution_id)
            task = asyncio.create_task(self.leave(scope), name="leave queues")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

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


async def _whole(act: Awaitable[T]) -> T:
    """Have an act go on to its end when its caller gives up."""
    task: asyncio.Future[Any] = asyncio.ensure_future(act)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    result: T = await asyncio.shield(task)
    return result
