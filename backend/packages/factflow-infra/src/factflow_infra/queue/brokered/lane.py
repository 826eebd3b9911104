"""One queue of one scope, as this process consumes it: what arrived, what is in hand, who waits.

The broker may bring a message twice: after a lost connection, or when it was published twice. A *twin* of a
message in hand waits beside it and is acknowledged with it, so a handler that outlives its channel is not
joined by a second one. Of what may have been handled before, the ledger is asked whether it settled; what
did is acknowledged and never seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from factflow_foundation import logs
from factflow_infra.queue.brokered.inbound import LAP, NOT_BEFORE, REPEAT, Inbound, acknowledge
from factflow_infra.queue.ledger.batch import LedgerEntry
from factflow_infra.queue.waiters import Waiters
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import Delivery, QueueScope

log = logs.logger(__name__)


class Arrived:
    """A message that came from the broker; `message` is None once it is worth nothing."""

    __slots__ = (
        "body",
        "crashes",
        "lap",
        "message",
        "message_id",
        "not_before",
        "redelivered",
        "repeat",
    )

    def __init__(self, message: Inbound) -> None:
        self.message: Inbound | None = message
        self.message_id = message.message_id
        self.body = message.body
        self.redelivered = message.redelivered
        self.repeat = self.redelivered or bool(message.headers.get(REPEAT))
        self.not_before = message.headers.get(NOT_BEFORE, 0) / 1_000
        self.lap = message.headers.get(LAP, 0)
        self.crashes = 0


class Hand:
    """A delivered message. One act at a time is done with it, under `turn`."""

    __slots__ = ("arrived", "claimed", "next", "tried", "turn", "twins")

    def __init__(self, arrived: Arrived) -> None:
        self.arrived = arrived
        self.twins: list[Inbound] = []
        self.next: list[Arrived] = []
        """Further attempts, which may come before this one has given way to them."""
        self.turn = asyncio.Lock()
        self.claimed = False
        self.tried = False
        """Whether its children may have been published before."""


class Checks(Protocol):
    """What a lane asks of its scope."""

    async def came_again(self, ids: Sequence[str]) -> dict[str, LedgerEntry]:
        """Look messages up in the ledger."""
        ...


class BrokerLane:
    """`not_due` is awaited with a message whose time has not come: it keeps it, or raises."""

    def __init__(
        self,
        scope: QueueScope,
        queue: str,
        checks: Checks,
        *,
        now: Callable[[], float],
        not_due: Callable[[Arrived], Awaitable[None]],
        due: Callable[[str], None],
    ) -> None:
        self.scope = scope
        self.queue = queue
        self.hands: dict[str, Hand] = {}
        self.ended = False
        self._checks = checks
        self._now = now
        self._not_due = not_due
        self._due = due
        self._incoming: list[Arrived] = []
        self._checking: dict[str, Arrived] = {}
        self._pumping: asyncio.Task[None] | None = None
        self._ready: deque[Arrived] = deque()
        self.waiters = Waiters()
        self._acknowledging: set[asyncio.Task[None]] = set()

    # -- what comes

    def arrived(self, message: Inbound) -> None:
        """Take a message in; what has nothing before it and needs no look is ready at once."""
        one = Arrived(message)
        if self._incoming or self._checking or self._needs_look(one):
            self._incoming.append(one)
            if self._pumping is None or self._pumping.done():
                self._pumping = asyncio.create_task(self._pump(), name=f"look up {self.queue}")
        else:
            self._make_ready(one)

    def lost(self) -> None:
        """Forget what stands here: the connection that brought it ended, and the broker brings it again."""
        for hand in self.hands.values():
            hand.arrived.message = None
            hand.twins.clear()
            hand.next.clear()
        for one in (*self._incoming, *self._checking.values(), *self._ready):
            one.message = None
        self._incoming.clear()
        self._checking.clear()
        self._ready.clear()

    def unwanted(self) -> None:
        """Give back what nobody took."""
        following = [one for hand in self.hands.values() for one in hand.next]
        standing = [*self._ready, *self._checking.values(), *self._incoming, *following]
        for hand in self.hands.values():
            hand.next.clear()
        self._ready.clear()
        self._checking.clear()
        self._incoming.clear()
        for one in standing:
            self._later(acknowledge(one.message, requeue=True))

    def found(self, message_id: str) -> bytes | None:
        """Return the body of a message that stands here, in hand or not."""
        hand = self.hands.get(message_id)
        if hand is not None:
            return hand.arrived.body
        return next((one.body for one in self._ready if one.message_id == message_id), None)

    # -- what leaves

    def take(self) -> Delivery | None:
        """Hand out the next ready message."""
        while self._ready:
            one = self._ready.popleft()
            hand = self.hands.get(one.message_id)
            if hand is None:
                self.hands[one.message_id] = Hand(one)
                return Delivery(
                    self.scope, self.queue, one.message_id, one.body, one.repeat, one.crashes
                )
            self._join(hand, one)
        return None

    async def finish(self, hand: Hand, *, requeue: bool = False) -> None:
        """Take a message out of its handler's hands, and its twins with it; with `requeue` one of them
        is delivered again."""
        message_id = hand.arrived.message_id
        if self.hands.get(message_id) is hand:
            del self.hands[message_id]
        held = [one for one in (hand.arrived.message, *hand.twins) if one is not None]
        for number, message in enumerate(held):
            await acknowledge(message, requeue=requeue and number == 0)
        following, hand.next = hand.next, []
        for one in following:
            self._make_ready(one)

    def settled(self, message_id: str) -> None:
        """Drop what else stands here of a message that settled."""
        kept: deque[Arrived] = deque()
        for one in self._ready:
            if one.message_id == message_id:
                self._later(acknowledge(one.message))
            else:
                kept.append(one)
        self._ready = kept
        checked = self._checking.pop(message_id, None)
        if checked is not None:
            self._later(acknowledge(checked.message))

    @property
    def has_ready(self) -> bool:
        """Tell whether something can be taken."""
        return bool(self._ready)

    async def close(self) -> None:
        """End all waiting, with `asyncio.CancelledError`; nothing is handed out any more."""
        self.ended = True
        self.waiters.end()
        if self._pumping is not None:
            self._pumping.cancel()
        await asyncio.gather(
            *filter(None, [self._pumping]), *self._acknowledging, return_exceptions=True
        )

    # -- inside

    @staticmethod
    def _needs_look(one: Arrived) -> bool:
        return one.repeat or one.not_before > 0

    def _make_ready(self, one: Arrived) -> None:
        self._ready.append(one)
        self.waiters.wake()

    def _join(self, hand: Hand, one: Arrived) -> None:
        if one.message is None:
            return
        if one.lap > hand.arrived.lap:
            hand.next.append(one)
        elif hand.arrived.message is None:
            hand.arrived.message = one.message  # the same message, by way of a new connection
        else:
            hand.twins.append(one.message)

    async def _pump(self) -> None:
        """Look at what came, in order: what settled goes, what is early waits on, the rest is ready."""
        while self._incoming:
            part, self._incoming = self._incoming, []
            late = []
            for one in part:
                if one.message_id in self._checking:
                    late.append(
                        one
                    )  # two of one message: the second one is looked at after the first
                else:
                    self._checking[one.message_id] = one
            self._incoming = [*late, *self._incoming]
            await self._look()

    async def _look(self) -> None:
        """Deal with what is being checked; it shrinks meanwhile when channels end or messages settle."""
        asked = [key for key, one in self._checking.items() if self._needs_look(one)]
        known: dict[str, LedgerEntry] = {}
        if asked:
            # Without an answer they are handled as repeats: each finds its records, and no harm is done.
            with contextlib.suppress(QueueUnavailableError):
                known = await self._checks.came_again(asked)
        for key in list(self._checking):
            one = self._checking.get(key)
            if one is None:
                continue
            entry = known.get(key)
            if entry is not None:
                one.crashes = entry.crashes
            if entry is not None and (entry.settled or entry.laps > one.lap):
                self._later(acknowledge(one.message))  # it has ended, or its next attempt is there
            elif await self._is_due(one) and self._checking.get(key) is one:
                hand = self.hands.get(key)
                if hand is not None:
                    self._join(hand, one)
                else:
                    self._make_ready(one)
            if self._checking.get(key) is one:
                del self._checking[key]

    async def _is_due(self, one: Arrived) -> bool:
        """Tell whether a message's time has come; see to it that it waits on otherwise."""
        if one.not_before <= 0:
            return True
        if one.not_before > self._now():
            try:
                await self._not_due(one)
            except QueueError as error:
                log.info("delivered early", queue=self.queue, reason=error.message)
                return True
            self._later(acknowledge(one.message))
            return False
        if not one.redelivered:
            self._due(one.message_id)
        return True

    def _later(self, act: Awaitable[None]) -> None:
        task = asyncio.ensure_future(act)
        self._acknowledging.add(task)
        task.add_done_callback(self._acknowledging.discard)
