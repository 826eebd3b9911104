"""The places of a route in which adapters run: at most `limit` at a time.

`asyncio.Semaphore` looks through all that wait whenever one comes; here a free place costs a subtraction.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class Slots:
    """A number of places, given out in the order they were asked for; `async with` takes one."""

    def __init__(self, count: int) -> None:
        self.limit = count
        self._free = count
        """Below zero while more are taken than a lowered limit allows."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a place. Safe to cancel."""
        if self._free > 0:
            self._free -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                if waiter in self._waiting:  # unless a place was about to be given to it
                    self._waiting.remove(waiter)
            else:  # the place had come, and nobody will use it
                self.release()
            raise

    def release(self) -> None:
        """Give a place back: to the next in line, or to whoever comes."""
        if self._free < 0 or not self._hand_on():
            self._free += 1

    def resize(self, limit: int) -> None:
        """Change how many places there are; those taken stay so until they are given back."""
        self._free += limit - self.limit
        self.limit = limit
        while self._free > 0 and self._hand_on():
            self._free -= 1

    @property
    def all_taken(self) -> bool:
        """Tell whether whoever comes now has to wait."""
        return self._free <= 0

    def _hand_on(self) -> bool:
        """Give a place to the next in line; False when nobody waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
