"""Who waits at a queue in this process: one is woken for each message, and none of the wakings gets lost."""

from __future__ import annotations

import asyncio
from collections import deque


class Waiters:
    """Those that found nothing to take, in the order they came."""

    def __init__(self) -> None:
        self._waiters: deque[asyncio.Future[None]] = deque()

    def add(self) -> asyncio.Future[None]:
        """Return a future that is done when it is worth trying to take again."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def wake(self) -> None:
        """Wake one."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def leave(self, waiter: asyncio.Future[None], *, something: bool) -> None:
        """Forget one that gave up; if it had been woken and there is `something`, another one is."""
        if waiter.done() and not waiter.cancelled():
            if something:
                self.wake()
        elif waiter in self._waiters:
            self._waiters.remove(waiter)

    def end(self) -> None:
        """End all waiting, with `asyncio.CancelledError`."""
        while self._waiters:
            self._waiters.popleft().cancel()
