"""A subscriber of one queue."""

from __future__ import annotations

import asyncio

from factflow_infra.queue.lane import Lane
from factflow_protocols.queue import Delivery


class EmbeddedConsumer:
    """Fulfils `factflow_protocols.queue.Consumer`; consumers of one queue share its messages."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False
        lane.consumers += 1
        lane.load_if_wanted()

    async def take(self) -> Delivery:
        """Wait for the next message and return it."""
        while True:
            if self._closed or self._lane.ended:
                raise asyncio.CancelledError
            delivery = self._lane.take()
            if delivery is not None:
                return delivery
            waiter = self._lane.wait()
            self._waiters.add(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                self._lane.stop_waiting(waiter)
                raise
            finally:
                self._waiters.discard(waiter)

    def take_nowait(self) -> Delivery | None:
        """Return the next message if one is in memory."""
        return None if self._closed or self._lane.ended else self._lane.take()

    async def close(self) -> None:
        """Stop taking; waiting calls end."""
        if self._closed:
            return
        self._closed = True
        self._lane.consumers -= 1
        for waiter in self._waiters:
            if not waiter.cancel() and self._lane.ready:
                self._lane.wake()
