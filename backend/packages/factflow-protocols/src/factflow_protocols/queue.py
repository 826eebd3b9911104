"""What a queue promises: durable hand-over, settling as one act, and the count of what is open.

A *scope* is one execution in one generation; queues of different scopes never meet. Every message
of a scope is *announced* when it is published and *settled* when its handling ended for good. A
message id is announced once: publishing it again while it waits, runs or after it settled changes
nothing. When every announced message has settled the scope is *drained*.

A scope is *owned* by the process that opened it last, which counts. Where processes share the queue, others
may *join* the scope: as *members* they consume, claim, publish and end deliveries like the owner, and go on
whoever owns it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class QueueScope:
    """One execution's queues in one generation."""

    execution_id: str
    generation: int = 1

    def name(self, queue: str) -> str:
        """Return the scoped name, `exec:<id>:<generation>:<queue>`."""
        return f"exec:{self.execution_id}:{self.generation}:{queue}"


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message on its way into `queue`; not delivered before `not_before` (Unix seconds)."""

    queue: str
    message_id: str
    body: bytes
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message in a handler's hands until it is settled, put back or released.

    `repeat` is true when it may have been handled before: it stood in the queue at an unclean start
    or was released. `crashes` counts the unclean ends of the process at which it was claimed.
    """

    scope: QueueScope
    queue: str
    message_id: str
    body: bytes
    repeat: bool
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scope is. `outstanding` = announced and not settled (a publisher counts as one)."""

    announced: int
    settled: int
    failed: int

    @property
    def outstanding(self) -> int:
        """Messages announced and not settled."""
        return self.announced - self.settled


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """What stands in one queue: `ready`, in hands (`in_flight`), and waiting for their time (`delayed`)."""

    ready: int
    in_flight: int
    delayed: int


MessageState = Literal["ready", "in_flight", "delayed", "settled"]


@dataclass(frozen=True, slots=True)
class MessagePlace:
    """Where one message stands.

    `ahead` counts the messages of a ready one's queue that came before it and wait as well, up to
    `MOST_AHEAD`, and is None where the queue cannot tell; `not_before` (Unix seconds) is when a delayed
    one's time comes; `crashes` is as in `Delivery`. A settled one has no `body` any more.
    """

    queue: str
    state: MessageState
    body: bytes | None = None
    ahead: int | None = 0
    not_before: float | None = None
    crashes: int = 0


MOST_AHEAD = 100_000
"""A question must not keep the queue from its work: further messages are not counted."""


PREFETCH = 250
"""Messages in hand, where nobody says how many there will be."""


class Consumer(Protocol):
    """One subscriber of one queue."""

    async def take(self) -> Delivery:
        """Wait for the next message and return it. Safe to cancel: nothing is lost."""
        ...

    def take_nowait(self) -> Delivery | None:
        """Return the next message if one is ready, else None."""
        ...

    async def close(self) -> None:
        """Stop taking; waiting `take` calls end with `asyncio.CancelledError`. Messages in hand stay
        in hand until they are settled, put back or released."""
        ...


class QueueProtocol(Protocol):
    """Every method raises `QueueUnavailableError` when the queue cannot do it now; a call that
    returned is durable."""

    async def open(self, scope: QueueScope, *, publisher: bool = False) -> Progress:
        """Make the scope known, or find it as it was left; return its progress.

        With `publisher` a publisher is announced as one outstanding item (a no-op when it was before).
        """
        ...

    async def join(self, scope: QueueScope) -> None:
        """Take part in a scope that another process opened; one that is open here already stays as it is.

        A member keeps no cursor, and cannot wait until the scope is drained; when the scope is deleted its
        `take` calls end with `asyncio.CancelledError`. Raises `QueueError` for a scope that nobody opened
        or that was deleted, and where the queue is one process's own.
        """
        ...

    async def leave(self, scope: QueueScope) -> None:
        """Take no more part in a scope that was joined, or opened where others can have it.

        What is in hand is delivered again, to others, and is no crash; what is done with it here afterwards
        changes nothing. Repeatable.
        """
        ...

    def subscribe(self, scope: QueueScope, queue: str, *, prefetch: int = PREFETCH) -> Consumer:
        """Start consuming a queue; messages published before count too.

        `prefetch` is how many messages its takers will have in hand at most: a queue that others consume
        too hands out little more to this process.
        """
        ...

    async def publish(
        self, scope: QueueScope, messages: Sequence[OutgoingMessage], *, cursor: int | None = None
    ) -> None:
        """Announce and enqueue, as one act. `cursor` is kept as the publisher's position with it."""
        ...

    async def publisher_cursor(self, scope: QueueScope) -> int:
        """Return the position kept by the last `publish(cursor=…)`, 0 when there is none."""
        ...

    async def end_publishing(self, scope: QueueScope) -> None:
        """Settle the publisher; repeated calls change nothing."""
        ...

    async def claim(self, delivery: Delivery) -> None:
        """Note that the message's handling begins now; call it before anything of it runs.

        From the scope's first crash on (its queue was left uncleanly) the note is durable, until the
        message is settled, put back or released, or the queue is closed in order: should the process
        die before, the message comes again with one more in `crashes`. Before the first crash nothing
        is written and nothing is counted; where processes share the scope, that is so for messages that are
        no repeats, and for members always: repeats are claimed durably, and a process that only lost its
        connection is no crash. Claiming again, or a message not in hand, changes nothing.
        """
        ...

    async def settle(
        self, delivery: Delivery, *, children: Sequence[OutgoingMessage] = (), failed: bool = False
    ) -> None:
        """Children in, message out, as one act. Settling a settled message changes nothing."""
        ...

    async def put_back(self, delivery: Delivery, body: bytes, not_before: float) -> None:
        """Replace the message by its next attempt, delivered not before then; it stays outstanding."""
        ...

    async def release(self, delivery: Delivery) -> None:
        """Give the message back untouched; it will be delivered again, as a repeat."""
        ...

    async def progress(self, scope: QueueScope) -> Progress:
        """Return the scope's counts."""
        ...

    async def find(self, scope: QueueScope) -> Progress | None:
        """Return the progress of a scope that was opened before; None when it was deleted, lost with
        the queue, or cannot be trusted after what happened to the machine."""
        ...

    async def scopes(self) -> Sequence[QueueScope]:
        """Return the scopes that were opened and not deleted, by this process or one before it."""
        ...

    async def find_message(self, scope: QueueScope, message_id: str) -> MessagePlace | None:
        """Return where a message stands; None for one that was not announced, or whose scope is not
        known. For people who ask: it is no part of handling a message."""
        ...

    async def wait_drained(self, scope: QueueScope) -> Progress:
        """Return once nothing is outstanding; at once when nothing ever was."""
        ...

    def depths(self, scope: QueueScope) -> Mapping[str, QueueDepth]:
        """Return what stands in each queue of the scope that was published to or subscribed."""
        ...

    def watch(self, scope: QueueScope, changed: Callable[[], None]) -> Callable[[], None]:
        """Have `changed` called when depths have changed by what other processes did, as soon as that is
        known; return what ends that."""
        ...

    async def delete(self, scope: QueueScope) -> None:
        """Forget the scope: its messages, counts and queues. Absent scopes are no error."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of the queue."""
        ...
