"""The connection to the broker: made again whenever it is lost, with growing pauses between the tries.

Nothing waits here for a connection unless it asks to: a call that needs one and finds none raises
`QueueUnavailableError`, and whoever called holds and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factflow_foundation import logs
from factflow_protocols.errors import QueueError, QueueUnavailableError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""How long the broker may take to confirm; one in need of memory or disk does not confirm at all."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
MOST_BODY_BYTES = 16 * 1024 * 1024
"""What brokers of today take, unless they are told to take more or less."""

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message for one broker queue."""

    name: str
    body: bytes
    message_id: str = ""
    headers: dict[str, Any] | None = None


class BrokerSession:
    """One connection at a time, and on it the channel that everything is published through."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.address = _without_secret(url)
        self.version: tuple[int, ...] = (0,)
        self.trouble: str | None = None
        self.unconsumed: dict[str, str] = {}
        """Queues that should be consumed and cannot be, and why."""
        self.most_body_bytes = MOST_BODY_BYTES
        self._connection: AbstractConnection | None = None
        self._publishing: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        self._up = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Connect. Raises `QueueUnavailableError` when the broker cannot be reached or refuses."""
        try:
            await self._connect()
        except Exception as error:
            raise self._unavailable(error) from error

    async def connected(self) -> None:
        """Wait for a connection."""
        await self._up.wait()

    def check(self) -> None:
        """Raise `QueueUnavailableError` unless there is a connection."""
        if not self._up.is_set():
            raise self._unavailable(self.trouble or "not connected")

    def check_size(self, body: bytes) -> None:
        """Raise `QueueError` for a body that the broker does not take."""
        if len(body) > self.most_body_bytes:
            raise QueueError(
                f"a message of {len(body)} bytes is too large for the broker, which takes "
                f"{self.most_body_bytes}",
                hint="put less into the message's metadata, or raise the broker's max_message_size",
            )

    def check_consuming(self) -> None:
        """Raise `QueueUnavailableError` when a queue cannot be consumed, though there is a connection."""
        self.check()
        if self.unconsumed:
            name, reason = next(iter(self.unconsumed.items()))
            raise self._unavailable(
                f"{len(self.unconsumed)} queues bring nothing: {name}: {reason}"
            )

    async def channel(self) -> AbstractChannel:
        """Return a new channel, whose publishes are confirmed."""
        self.check()
        connection = self._connection
        if connection is None:
            raise self._unavailable("not connected")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await connection.channel(publisher_confirms=True, on_return_raises=True)
        except Exception as error:
            raise self._unavailable(error) from error

    @asynccontextmanager
    async def lent_channel(self) -> AsyncIterator[AbstractChannel]:
        """Lend a channel for some requests; what the broker refuses ends only this one."""
        channel = await self.channel()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                yield channel
        except QueueError:
            raise
        except Exception as error:
            raise self._unavailable(error) from error
        finally:
            with contextlib.suppress(Exception):
                await channel.close()

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Publish; return once the broker has confirmed that it keeps every one of them.

        Raises `QueueUnavailableError`, after which some of them may be there, and `QueueError` for
        a message larger than the broker takes: then none is.
        """
        for message in messages:
            self.check_size(message.body)
        channel = await self._publish_channel()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._publish_one(channel, one)) for one in messages]
        failures = [error for task in tasks if (error := task.result()) is not None]
        if failures:
            self._learn_limit(failures)
            raise self._unavailable(failures[0]) from failures[0]

    async def close(self) -> None:
        """Let go of the connection; what was not acknowledged is delivered again."""
        self._closed = True
        self._up.clear()
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
        if self._connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._connection.close()

    # -- inside

    async def _connect(self) -> None:
        import aio_pika

        # What is lost and found again is told here, once and in words.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)
        logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
        connection = await aio_pika.connect(self._url, timeout=CONNECT_SECONDS)
        try:
            publishing = await connection.channel(publisher_confirms=True, on_return_raises=True)
        except BaseException:
            with contextlib.suppress(Exception):
                await connection.close()
            raise
        self._connection, self._publishing = connection, publishing
        self.version = _version_of(connection)
        connection.close_callbacks.add(self._lost)
        self.trouble = None
        self._up.set()

    def _lost(self, connection: Any, error: BaseException | None) -> None:
        if connection is not self._connection or self._closed:
            return
        self._up.clear()
        self.trouble = _words(error)
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
                self.trouble = _words(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        log.warning("broker is back", broker=self.address)

    async def _publish_channel(self) -> AbstractChannel:
        self.check()
        async with self._opening:
            if self._publishing is None or self._publishing.is_closed:
                self._publishing = await self.channel()
            return self._publishing

    async def _publish_one(
        self, channel: AbstractChannel, message: Outbound
    ) -> BaseException | None:
        """Return what kept a message from being confirmed."""
        from aio_pika import DeliveryMode, Message

        made = Message(
            message.body,
            message_id=message.message_id or None,
            headers=message.headers,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        try:
            await channel.default_exchange.publish(made, message.name, timeout=ANSWER_SECONDS)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return error  # the library's own way to end what waits on a lost channel
        except Exception as error:  # noqa: BLE001 - all of them mean that nobody confirmed it
            return error
        return None

    def _learn_limit(self, failures: Sequence[BaseException]) -> None:
        """Take the broker's own limit over when it names it, so that the next try tells whose fault it is."""
        for error in failures:
            found = re.search(r"larger than configured max size (\d+)", str(error))
            if found is not None:
                self.most_body_bytes = min(self.most_body_bytes, int(found[1]))

    def _unavailable(self, why: BaseException | str) -> QueueUnavailableError:
        if isinstance(why, QueueUnavailableError):
            return why
        if self._closed:
            return QueueUnavailableError("the queue is closed", hint="start the server")
        reason = why if isinstance(why, str) else _words(why)
        return QueueUnavailableError(
            f"the broker at {self.address} cannot be used now: {reason}",
            hint="see to the broker; it is tried again",
        )


def _words(error: BaseException | None) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error) if error is not None else ""
    if not text or "://" in text:  # the library names its own objects, with the URL in them
        return "the connection ended"
    return text


def _without_secret(url: str) -> str:
    """Return host and port alone."""
    rest = url.partition("://")[2]
    return rest.rpartition("@")[2].partition("/")[0].partition("?")[0]


def _version_of(connection: AbstractConnection) -> tuple[int, ...]:
    underlay = getattr(connection.transport, "connection", None)
    version = getattr(underlay, "server_properties", {}).get("version", "0")
    if isinstance(version, bytes):
        version = version.decode()
    return tuple(int(part) for part in re.findall(r"\d+", str(version))[:3]) or (0,)
