"""One queue of one scope, in memory: what is ready, in hand, delayed, and what is still on disk.

Belongs to the event loop. Bodies are held for at most `limit` ready messages; further ones stay on
disk (`spilled`) and follow in the order of their seq. Once a message is spilled all later ones are,
so the spilled ones are exactly the ready rows behind `loaded_to`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from factflow_infra.queue.queue_file import Standing
from factflow_infra.queue.waiters import Waiters
from factflow_protocols.queue import Delivery, QueueDepth, QueueScope

LOAD_ROWS = 1_000
LOAD_RETRY_SECONDS = 0.5


class InHand:
    """A delivered message. One act at a time is done with it: `hold`, then `let_go`."""

    __slots__ = ("_held", "_waiting", "message")

    def __init__(self, message: Standing) -> None:
        self.message = message
        self._held = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def held(self) -> bool:
        """Tell whether an act on this message is under way."""
        return self._held

    def hold(self) -> None:
        """Begin an act."""
        self._held = True

    def let_go(self) -> None:
        """End it, done or not; wakes those that wait for their turn."""
        self._held = False
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    async def turn(self) -> None:
        """Wait for the act under way to end."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter


class Lane:
    """See the module. `request_load` is called when more is wanted from disk; it ends in `loaded` or
    `load_failed`.
    """

    def __init__(
        self,
        scope: QueueScope,
        scope_id: int,
        queue: str,
        *,
        limit: int,
        request_load: Callable[[Lane], None],
    ) -> None:
        self.scope = scope
        self.scope_id = scope_id
        self.queue = queue
        self.limit = limit
        self.ready: deque[Standing] = deque()
        self.in_hand: dict[str, InHand] = {}
        self.delayed: set[int] = set()
        self.due: deque[int] = deque()
        self.spilled = 0
        self.loaded_to = 0
        self.loading = 0
        self.consumers = 0
        self.ended = False
        self._load_pending = False
        self._request_load = request_load
        self.waiters = Waiters()

    # -- what arrives

    def arrive(self, message: Standing) -> None:
        """Take in a message that was just stored as ready."""
        if self.spilled or len(self.ready) >= self.limit:
            self.spilled += 1
            self.load_if_wanted()
            return
        self.loaded_to = message.seq
        self.ready.append(message)
        self.waiters.wake()

    def delay(self, seq: int) -> None:
        """Take in a message that has to wait for its time."""
        self.delayed.add(seq)

    def mature(self, seq: int) -> None:
        """Its time has come: it is loaded and delivered next."""
        if seq in self.delayed:
            self.delayed.remove(seq)
            self.due.append(seq)

    def give_back(self, message: Standing) -> None:
        """Deliver a released message again, before the others."""
        self.ready.appendleft(message._replace(repeat=True))
        self.waiters.wake()

    # -- what is loaded from disk

    def load_if_wanted(self) -> None:
        """Ask for more when some lies on disk, somebody consumes, and memory runs low."""
        if (
            (self.due or self.spilled)
            and self.consumers
            and not self.ended
            and not self._load_pending
            and len(self.ready) <= self.limit // 2
        ):
            self._load_pending = True
            self._request_load(self)

    def start_load(self) -> list[int]:
        """Return the due messages to load now; when there are none it is the spilled ones' turn."""
        due = [self.due.popleft() for _ in range(min(len(self.due), self.load_rows))]
        self.loading = len(due)
        return due

    def loaded(self, messages: Sequence[Standing], *, due: bool) -> None:
        """Take in what was loaded."""
        self._load_pending, self.loading = False, 0
        if messages and not due:
            self.spilled -= len(messages)
            self.loaded_to = messages[-1].seq
        self.ready.extend(messages)
        for _ in messages:
            self.waiters.wake()
        self.load_if_wanted()

    def load_failed(self, due: Sequence[int]) -> None:
        """Leave everything as it was before the load, and ask again a little later."""
        self._load_pending, self.loading = False, 0
        self.due.extendleft(reversed(due))
        asyncio.get_running_loop().call_later(LOAD_RETRY_SECONDS, self.load_if_wanted)

    # -- who consumes

    def consumed(self) -> None:
        """Take note of one more consumer, and have messages in memory for it."""
        self.consumers += 1
        self.load_if_wanted()

    def left(self) -> None:
        """Take note that a consumer takes no more."""
        self.consumers -= 1

    # -- what leaves

    def take(self) -> Delivery | None:
        """Hand out the next ready message."""
        if not self.ready:
            self.load_if_wanted()
            return None
        message = self.ready.popleft()
        self.in_hand[message.message_id] = InHand(message)
        if self.spilled or self.due:
            self.load_if_wanted()
        return Delivery(
            self.scope,
            self.queue,
            message.message_id,
            message.body,
            message.repeat,
            message.crashes,
        )

    def drop(self, hand: InHand) -> bool:
        """Take a message out of its handler's hands; False when it is there no more."""
        message_id = hand.message.message_id
        if self.in_hand.get(message_id) is not hand:
            return False
        del self.in_hand[message_id]
        return True

    def forget(self, seq: int, message_id: str, *, stored_ready: bool) -> None:
        """Remove a message that was settled without being in hand, wherever it stands by now."""
        hand = self.in_hand.get(message_id)
        if hand is not None:
            del self.in_hand[message_id]
        elif seq in self.delayed:
            self.delayed.remove(seq)
        elif seq in self.due:
            self.due.remove(seq)
        elif any(message.seq == seq for message in self.ready):
            self.ready = deque(message for message in self.ready if message.seq != seq)
        elif stored_ready and seq > self.loaded_to:
            self.spilled -= 1

    @property
    def has_ready(self) -> bool:
        """Tell whether something can be taken."""
        return bool(self.ready)

    def end(self) -> None:
        """End all waiting, with `asyncio.CancelledError`; nothing is handed out any more."""
        self.ended = True
        self.waiters.end()

    @property
    def load_rows(self) -> int:
        """Return how many messages to load at once."""
        return min(self.limit, LOAD_ROWS)

    @property
    def depth(self) -> QueueDepth:
        """Return what stands here."""
        ready = len(self.ready) + self.spilled + len(self.due) + self.loading
        return QueueDepth(ready=ready, in_flight=len(self.in_hand), delayed=len(self.delayed))
