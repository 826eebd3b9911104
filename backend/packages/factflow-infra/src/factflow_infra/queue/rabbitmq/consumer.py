"""A subscriber of one queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from factflow_infra.queue.rabbitmq.lane import BrokerLane
from factflow_protocols.queue import Delivery


class BrokerConsumer:
    """Fulfils `factflow_protocols.queue.Consumer`; consumers of one queue share what it prefetched.

    `closed` is called once, when this one takes no more.
    """

    def __init__(self, lane: BrokerLane, closed: Callable[[], None]) -> None:
        self._lane = lane
        self._on_closed = closed
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False

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
        """Return the next message if one has come."""
        return None if self._closed or self._lane.ended else self._lane.take()

    async def close(self) -> None:
        """Stop taking; waiting calls end, and what nobody took goes back to the broker."""
        if self._closed:
            return
        self._closed = True
        for waiter in self._waiters:
            if not waiter.cancel():
                self._lane.wake()
        self._on_closed()
