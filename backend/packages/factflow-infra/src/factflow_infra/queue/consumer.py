"""A subscriber of one queue, whoever brings the messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from factflow_infra.queue.waiters import Waiters
from factflow_protocols.queue import Delivery


class Takeable(Protocol):
    """What stands ready in this process of a queue."""

    @property
    def ended(self) -> bool:
        """Tell whether nothing is handed out any more."""
        ...

    @property
    def waiters(self) -> Waiters:
        """Return who waits here."""
        ...

    @property
    def has_ready(self) -> bool:
        """Tell whether something can be taken."""
        ...

    def take(self) -> Delivery | None:
        """Hand out the next ready message."""
        ...


class QueueConsumer:
    """Fulfils `factflow_protocols.queue.Consumer`; consumers of one queue share its messages.

    `closed` is called once, when this one takes no more.
    """

    def __init__(self, lane: Takeable, closed: Callable[[], None]) -> None:
        self._lane = lane
        self._on_closed = closed
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    async def take(self) -> Delivery:
        """Wait for the next message and return it."""
        lane = self._lane
        while True:
            if self._closed or lane.ended:
                raise asyncio.CancelledError
            delivery = lane.take()
            if delivery is not None:
                return delivery
            waiter = lane.waiters.add()
            self._waiting.add(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                lane.waiters.leave(waiter, something=lane.has_ready)
                raise
            finally:
                self._waiting.discard(waiter)

    def take_nowait(self) -> Delivery | None:
        """Return the next message if one is at hand."""
        return None if self._closed or self._lane.ended else self._lane.take()

    async def close(self) -> None:
        """Stop taking; waiting calls end."""
        if self._closed:
            return
        self._closed = True
        for waiter in self._waiting:
            if not waiter.cancel() and self._lane.has_ready:
                self._lane.waiters.wake()
        self._on_closed()
