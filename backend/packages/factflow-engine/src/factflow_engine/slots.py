"""The places of a route in which adapters run: at most `concurrency` at a time.

`asyncio.Semaphore` looks through all that wait whenever one comes; here a free place costs a subtraction.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class Slots:
    """A number of places, given out in the order they were asked for; `async with` takes one."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a place. Safe to cancel."""
        if self._free:
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
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
