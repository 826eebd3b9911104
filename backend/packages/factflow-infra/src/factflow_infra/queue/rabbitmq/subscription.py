"""Consuming one broker queue for as long as it is wanted, over any number of connections and channels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from factflow_foundation import logs
from factflow_infra.queue.rabbitmq.session import FIRST_PAUSE, LONGEST_PAUSE, BrokerSession
from factflow_protocols.errors import QueueError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

log = logs.logger(__name__)


class Subscription:
    """`arrived` is called with each message, in the broker's order; `lost` when the channel ended and with
    it every message that it brought and that was not acknowledged: the broker delivers those again.

    `prepare` is awaited before a channel is opened. While it is not `wanted` nothing new arrives,
    `unwanted` is called, and what came before can still be acknowledged.
    """

    def __init__(
        self,
        session: BrokerSession,
        name: str,
        *,
        prefetch: int,
        prepare: Callable[[], Awaitable[None]],
        arrived: Callable[[AbstractIncomingMessage], None],
        lost: Callable[[], None],
        unwanted: Callable[[], None] | None = None,
    ) -> None:
        self._session = session
        self._name = name
        self._prefetch = prefetch
        self._prepare = prepare
        self._arrived = arrived
        self._lost = lost
        self._unwanted = unwanted
        self._wanted = True
        self._closed = False
        self._changed = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._task = asyncio.create_task(self._run(), name=f"consume {name}")

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
        self._session.unconsumed.pop(self._name, None)

    # -- inside

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed:  # the library may turn a cancellation into an error of its own
            await self._session.connected()
            try:
                await self._prepare()
                reason = await self._consume()
                pause = FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - whatever it is, consuming goes on
                reason = str(error) or repr(error)
                self._session.unconsumed[self._name] = reason
            if self._session.trouble is None:  # else it was told already, for all queues at once
                log.warning("consuming interrupted", queue=self._name, reason=reason)
            self._lost()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _consume(self) -> str:
        """Consume on one channel until it ends; return why it did."""
        channel = await self._session.channel()
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
            self._session.unconsumed.pop(self._name, None)
            return begun
        if not self._wanted and tag is not None:
            await queue.cancel(tag)
            if self._unwanted is not None:
                self._unwanted()
            return None
        return tag

    async def _take_in(self, message: AbstractIncomingMessage) -> None:
        self._arrived(message)


async def acknowledge(
    message: AbstractIncomingMessage | None, *, requeue: bool = False, multiple: bool = False
) -> None:
    """Tell the broker that a message is done with (`multiple`: all before it too), or is to be delivered
    again.

    On a channel that ended there is nothing to tell: the message comes again by itself.
    """
    if message is None:
        return
    try:
        if requeue:
            await message.nack(requeue=True)
        else:
            await message.ack(multiple=multiple)
    except Exception as error:  # noqa: BLE001 - the library has no one error for a channel that ended
        log.info("not acknowledged", reason=str(error) or repr(error))
