"""RabbitMQ as a transport: quorum queues, publisher confirms, delay queues that hand over by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from factflow_infra.queue.brokered.inbound import Inbound
from factflow_infra.queue.brokered.transport import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    Intake,
    Outbound,
    Subscription,
    Transport,
)
from factflow_infra.queue.rabbitmq.naming import arguments, broker_name
from factflow_infra.queue.rabbitmq.subscription import RabbitInbound, RabbitSubscription
from factflow_protocols.errors import QueueError
from factflow_protocols.queue import QueueScope

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection

MOST_BODY_BYTES = 16 * 1024 * 1024
"""What brokers of today take, unless they are told to take more or less."""


class RabbitTransport(Transport):
    """One connection (`amqp://user:password@host:port/vhost`), and on it the channel that everything is
    published through."""

    kind: ClassVar[str] = "rabbitmq"
    hands_over: ClassVar[bool] = True
    size_hint: ClassVar[str] = "the broker's max_message_size"

    def __init__(self, url: str) -> None:
        super().__init__(url, MOST_BODY_BYTES)
        self.version: tuple[int, ...] = (0,)
        self._connection: AbstractConnection | None = None
        self._publishing: AbstractChannel | None = None
        self._opening = asyncio.Lock()

    def name(self, scope: QueueScope, queue: str) -> str:
        """Return a queue's name at the broker."""
        return broker_name(scope, queue)

    async def channel(self) -> AbstractChannel:
        """Return a new channel, whose publishes are confirmed."""
        self.check()
        connection = self._connection
        if connection is None:
            raise self.unavailable("not connected")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await connection.channel(publisher_confirms=True, on_return_raises=True)
        except Exception as error:
            raise self.unavailable(error) from error

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Publish; return once the broker has confirmed that it keeps every one of them."""
        for message in messages:
            self.check_size(message.body)
        channel = await self._publish_channel()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._publish_one(channel, one)) for one in messages]
        failures = [error for task in tasks if (error := task.result()) is not None]
        if failures:
            self._learn_limit(failures)
            raise self.unavailable(failures[0]) from failures[0]

    def subscribe(self, intake: Intake) -> Subscription:
        """Start consuming a queue."""
        return RabbitSubscription(self, intake)

    async def make(self, scope: QueueScope, names: Sequence[str]) -> None:
        """Declare durable quorum queues."""
        async with self._lent_channel() as channel:
            for name in names:
                declared = arguments(scope, name, self.version)
                await channel.declare_queue(
                    broker_name(scope, name), durable=True, arguments=declared
                )

    async def remove(self, scope: QueueScope, names: Sequence[str]) -> None:
        """Delete queues."""
        async with self._lent_channel() as channel:
            for name in names:
                await channel.queue_delete(broker_name(scope, name))

    async def all_there(self, scope: QueueScope, names: Sequence[str]) -> bool:
        """Tell whether the broker has every one of the queues."""
        from aio_pika.exceptions import ChannelNotFoundEntity

        async with self._lent_channel() as channel:
            for name in names:
                try:
                    await channel.get_queue(broker_name(scope, name), ensure=True)
                except ChannelNotFoundEntity:
                    return False
        return True

    async def standing(self, scope: QueueScope, name: str) -> int:
        """Return how many messages of a queue nobody has in hand."""
        async with self._lent_channel() as channel:
            queue = await channel.declare_queue(
                broker_name(scope, name), durable=True, passive=True
            )
            return queue.declaration_result.message_count or 0

    async def acknowledge_all(self, messages: Sequence[Inbound]) -> None:
        """Acknowledge the last one, and all before it with it."""
        last = messages[-1]
        if isinstance(last, RabbitInbound):
            await last.message.ack(multiple=True)

    # -- inside

    @asynccontextmanager
    async def _lent_channel(self) -> AsyncIterator[AbstractChannel]:
        """Lend a channel for some requests; what the broker refuses ends only this one."""
        channel = await self.channel()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                yield channel
        except QueueError:
            raise
        except Exception as error:
            raise self.unavailable(error) from error
        finally:
            with contextlib.suppress(Exception):
                await channel.close()

    async def _dial(self) -> None:
        import aio_pika

        # What is lost and found again is told by us, once and in words.
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
        connection.close_callbacks.add(self._ended)

    async def _hang_up(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    def _ended(self, connection: Any, error: BaseException | None) -> None:
        if connection is self._connection:
            self._lost(error)

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
            headers=dict(message.headers) or None,
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


def _version_of(connection: AbstractConnection) -> tuple[int, ...]:
    underlay = getattr(connection.transport, "connection", None)
    version = getattr(underlay, "server_properties", {}).get("version", "0")
    if isinstance(version, bytes):
        version = version.decode()
    return tuple(int(part) for part in re.findall(r"\d+", str(version))[:3]) or (0,)
