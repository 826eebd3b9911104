"""Consuming one queue of RabbitMQ: a channel at a time, and what it brought ends with it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from factflow_infra.queue.brokered.inbound import Inbound
from factflow_infra.queue.brokered.transport import Intake, Subscription
from factflow_protocols.errors import QueueError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

    from factflow_infra.queue.rabbitmq.transport import RabbitTransport


class RabbitInbound(Inbound):
    """A delivery of one channel."""

    __slots__ = ("body", "headers", "message", "message_id", "redelivered")

    def __init__(self, message: AbstractIncomingMessage) -> None:
        self.message = message
        self.message_id = message.message_id or ""
        self.body = message.body
        self.redelivered = bool(message.redelivered)
        self.headers = {
            name: int(str(value))
            for name, value in message.headers.items()
            if name.startswith("factflow-")
        }

    async def acknowledge(self) -> None:
        """Acknowledge it on its channel."""
        await self.message.ack()

    async def give_back(self) -> None:
        """Put it back into its queue."""
        await self.message.nack(requeue=True)


class RabbitSubscription(Subscription):
    """Ends with its channel; the broker delivers again what was not acknowledged."""

    def __init__(self, transport: RabbitTransport, intake: Intake) -> None:
        self._rabbit = transport
        super().__init__(transport, intake)

    async def _consume(self) -> str:
        """Consume on one channel until it ends."""
        channel = await self._rabbit.channel()
        ended: list[str] = []

        def on_close(_: Any, error: BaseException | None) -> None:
            ended.append(str(error) or repr(error))
            self._changed.set()

        def on_cancel(_: Any) -> None:
            on_close(None, QueueError("the broker ended it: its queue is gone"))

        channel.close_callbacks.add(on_close)
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(on_cancel)
        try:
            prefetch, tag = 0, None
            queue = await channel.get_queue(self._name, ensure=False)
            while not ended and not channel.is_closed:
                self._changed.clear()
                if prefetch != self._prefetch:
                    if tag is not None:  # the broker applies a prefetch to consumers to come
                        await queue.cancel(tag)
                        tag = None
                    prefetch = self._prefetch
                    await channel.set_qos(prefetch_count=prefetch)
                tag = await self._adjust(queue, tag)
                await self._changed.wait()
            return ended[0] if ended else "the channel was closed"
        finally:
            with contextlib.suppress(Exception):
                await channel.close()

    async def _adjust(self, queue: AbstractQueue, tag: str | None) -> str | None:
        """Begin or end consuming as it is wanted."""
        if self._wanted and tag is None:
            begun = await queue.consume(self._take_in)
            self._transport.unconsumed.pop(self._name, None)
            return begun
        if not self._wanted and tag is not None:
            await queue.cancel(tag)
            self._intake.unwanted()
            return None
        return tag

    async def _take_in(self, message: AbstractIncomingMessage) -> None:
        self._intake.arrived(RabbitInbound(message))
