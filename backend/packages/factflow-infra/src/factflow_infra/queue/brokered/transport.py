"""What queues need of a broker, and the connection to it: made again whenever it is lost, with growing pauses
between the tries.

Nothing waits here for a connection unless it asks to: a call that needs one and finds none raises
`QueueUnavailableError`, and whoever called holds and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from factflow_foundation import logs
from factflow_infra.queue.brokered.inbound import Inbound
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import QueueScope

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""How long the broker may take to confirm; one in need of memory or disk does not confirm at all."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message for one broker queue."""

    name: str
    body: bytes
    message_id: str = ""
    headers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Intake:
    """How one queue is consumed. `arrived` is called with each message, in the broker's order; `lost` when
    every message that came and was not acknowledged is delivered again, and what was here is worth nothing.

    `prepare` is awaited before consuming begins. While messages are not wanted nothing new arrives,
    `unwanted` is called, and what came before can still be acknowledged.
    """

    name: str
    prefetch: int
    prepare: Callable[[], Awaitable[None]]
    arrived: Callable[[Inbound], None]
    lost: Callable[[], None]
    unwanted: Callable[[], None] = lambda: None


class Subscription(ABC):
    """Consumes one broker queue for as long as it is wanted, over any number of connections."""

    def __init__(self, transport: Transport, intake: Intake) -> None:
        self._transport = transport
        self._intake = intake
        self._name = intake.name
        self._prefetch = intake.prefetch
        self._wanted = True
        self._closed = False
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"consume {intake.name}")

    def want(self, wanted: bool, prefetch: int | None = None) -> None:
        """Have messages come, or stay with the broker; at most `prefetch` that are not acknowledged."""
        if prefetch is not None and prefetch > self._prefetch:
            self._prefetch = prefetch
            self._changed.set()
        if wanted is not self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def close(self) -> None:
        """Stop; what was not acknowledged goes back to the broker."""
        self._closed = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._transport.unconsumed.pop(self._name, None)

    @property
    def awaited(self) -> int:
        """Return how many messages that others had in hand when this began are to come again, later than
        what was behind them."""
        return 0

    @abstractmethod
    async def _consume(self) -> str:
        """Consume until it ends; return why it did. Raises whatever keeps it from going on."""

    def _broken_off(self) -> None:
        """Called when consuming was interrupted, before it is tried again."""
        self._intake.lost()

    # -- inside

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed:  # the library may turn a cancellation into an error of its own
            await self._transport.connected()
            try:
                await self._intake.prepare()
                reason = await self._consume()
                pause = FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - whatever it is, consuming goes on
                reason = str(error) or repr(error)
                self._transport.unconsumed[self._name] = reason
            if self._transport.trouble is None:  # else it was told already, for all queues at once
                log.warning("consuming interrupted", queue=self._name, reason=reason)
            self._broken_off()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


class Transport(ABC):
    """One connection at a time to one broker. Whatever of it ends, ends with `_lost`."""

    kind: ClassVar[str]
    """What it is called in health answers."""
    hands_over: ClassVar[bool] = False
    """Whether the broker moves messages from a delay queue to its target by itself."""
    size_hint: ClassVar[str]
    """How a broker is made to take larger messages."""

    def __init__(self, url: str, most_body_bytes: int) -> None:
        self._url = url
        self.address = _without_secret(url)
        self.trouble: str | None = None
        self.unconsumed: dict[str, str] = {}
        """Queues that should be consumed and cannot be, and why."""
        self.most_body_bytes = most_body_bytes
        self._up = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._closed = False

    # -- what each broker does in its own way

    @abstractmethod
    def name(self, scope: QueueScope, queue: str) -> str:
        """Return a queue's name at the broker. Raises `QueueError` for one that the broker cannot have."""

    @abstractmethod
    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Publish; return once the broker has confirmed that it keeps every one of them.

        Raises `QueueUnavailableError`, after which some of them may be there, and `QueueError` for
        a message larger than the broker takes: then none is.
        """

    @abstractmethod
    def subscribe(self, intake: Intake) -> Subscription:
        """Start consuming a queue."""

    @abstractmethod
    async def make(self, scope: QueueScope, names: Sequence[str]) -> None:
        """Make queues that survive the broker's restart; those that are there stay as they are."""

    @abstractmethod
    async def remove(self, scope: QueueScope, names: Sequence[str]) -> None:
        """Delete queues with all that stands in them; those that are not there are no error."""

    @abstractmethod
    async def all_there(self, scope: QueueScope, names: Sequence[str]) -> bool:
        """Tell whether the broker has every one of the queues."""

    @abstractmethod
    async def standing(self, scope: QueueScope, name: str) -> int:
        """Return how many messages stand in a queue, 0 when the broker does not tell."""

    async def acknowledge_all(self, messages: Sequence[Inbound]) -> None:
        """Acknowledge messages of one subscription, which came in this order with none left between them."""
        for message in messages:
            await message.acknowledge()

    @abstractmethod
    async def _dial(self) -> None:
        """Connect, and keep the connection. Whatever it raises, nothing is left of the try."""

    @abstractmethod
    async def _hang_up(self) -> None:
        """Close the connection if there is one."""

    # -- the connection

    async def start(self) -> None:
        """Connect. Raises `QueueUnavailableError` when the broker cannot be reached or refuses."""
        try:
            await self._connect()
        except Exception as error:
            raise self.unavailable(error) from error

    async def connected(self) -> None:
        """Wait for a connection."""
        await self._up.wait()

    def check(self) -> None:
        """Raise `QueueUnavailableError` unless there is a connection."""
        if not self._up.is_set():
            raise self.unavailable(self.trouble or "not connected")

    def check_size(self, body: bytes) -> None:
        """Raise `QueueError` for a body that the broker does not take."""
        if len(body) > self.most_body_bytes:
            raise QueueError(
                f"a message of {len(body)} bytes is too large for the broker, which takes "
                f"{self.most_body_bytes}",
                hint=f"put less into the message's metadata, or raise {self.size_hint}",
            )

    def check_consuming(self) -> None:
        """Raise `QueueUnavailableError` when a queue cannot be consumed, though there is a connection."""
        self.check()
        if self.unconsumed:
            name, reason = next(iter(self.unconsumed.items()))
            raise self.unavailable(f"{len(self.unconsumed)} queues bring nothing: {name}: {reason}")

    async def close(self) -> None:
        """Let go of the connection; what was not acknowledged is delivered again."""
        self._closed = True
        self._up.clear()
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._hang_up()

    def unavailable(self, why: BaseException | str) -> QueueUnavailableError:
        """Return the error that says why the broker cannot be used now."""
        if isinstance(why, QueueUnavailableError):
            return why
        if self._closed:
            return QueueUnavailableError("the queue is closed", hint="start the server")
        reason = why if isinstance(why, str) else words(why)
        return QueueUnavailableError(
            f"the broker at {self.address} cannot be used now: {reason}",
            hint="see to the broker; it is tried again",
        )

    # -- inside

    async def _connect(self) -> None:
        await self._dial()
        self.trouble = None
        self._up.set()

    def _lost(self, error: BaseException | None) -> None:
        """Note that the connection ended, and make another one."""
        if self._closed:
            return
        self._up.clear()
        self.trouble = words(error)
        log.warning("broker lost", broker=self.address, reason=self.trouble)
        if self._reconnecting is None or self._reconnecting.done():
            self._reconnecting = asyncio.create_task(self._reconnect(), name="broker connection")

    async def _reconnect(self) -> None:
        pause = FIRST_PAUSE
        while not self._up.is_set():
            if self._closed:  # the library may turn a cancellation into an error of its own
                return
            try:
                await self._connect()
            except Exception as error:  # noqa: BLE001 - whatever keeps it away, it is tried again
                self.trouble = words(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        log.warning("broker is back", broker=self.address)


def words(error: BaseException | None) -> str:
    """Return what an error says, without the URLs that libraries put into theirs."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error) if error is not None else ""
    if not text or "://" in text:
        return "the connection ended"
    return text


def _without_secret(url: str) -> str:
    """Return host and port alone."""
    rest = url.partition("://")[2]
    return rest.rpartition("@")[2].partition("/")[0].partition("?")[0]
