"""Politeness: how many requests a host gets at once, and how far apart.

Per host the number of simultaneous requests follows additive increase, multiplicative decrease (as
TCP's congestion avoidance, RFC 5681): it grows by one per round of good answers, and halves when the
host pushes back (429, 503, time-outs, resets). Down at one request the gap between requests doubles
instead, and shrinks again with good answers. `Retry-After` stops the whole host until then.

A request that waits for its turn holds nothing but its place in the line.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

_FIRST_WINDOW = 2.0
_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 60.0
_JITTER = 0.1


class Timer(Protocol):
    """Time as a seam."""

    def now(self) -> float:
        """Return seconds that only ever grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemTimer:
    """The machine's monotonic clock and the event loop's waiting."""

    def now(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """What a host gets at most. Seconds; `requests_per_second` None means no fixed rate.

    `max_pause` caps what `Retry-After` can ask, `max_crawl_delay` what robots.txt can ask.
    """

    max_concurrency: int = 4
    requests_per_second: float | None = None
    max_pause: float = 300.0
    max_crawl_delay: float = 30.0


@dataclass(slots=True)
class _Host:
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0
    window: float = _FIRST_WINDOW
    backoff: float = 0.0
    crawl_delay: float = 0.0
    next_start: float = 0.0
    paused_until: float = 0.0
    decreased_at: float = float("-inf")


class Turn:
    """One request's turn at a host; say how the host took it. Silence counts as neither."""

    def __init__(self, host: _Host, limits: PaceLimits, timer: Timer) -> None:
        self._host = host
        self._limits = limits
        self._timer = timer
        self._started = timer.now()

    def succeeded(self) -> None:
        """The host answered in good order (a 404 is that too)."""
        host = self._host
        host.window = min(host.window + 1.0 / host.window, float(self._limits.max_concurrency))
        host.backoff = host.backoff / 2 if host.backoff > _FIRST_BACKOFF / 8 else 0.0

    def pushed_back(self, retry_after: float | None = None) -> None:
        """The host asked for less, or broke down; `retry_after` in seconds."""
        host, now = self._host, self._timer.now()
        if retry_after is not None:
            pause = min(max(retry_after, 0.0), self._limits.max_pause)
            host.paused_until = max(host.paused_until, now + pause)
        if self._started < host.decreased_at:
            return  # sent before the last decrease: the same trouble, told once more
        if host.window <= 1.0:
            host.backoff = min(max(host.backoff * 2, _FIRST_BACKOFF), _LONGEST_BACKOFF)
            host.next_start = max(host.next_start, now + host.backoff)
        host.window = max(host.window / 2, 1.0)
        host.decreased_at = now


class Pacer:
    """The lines in front of all hosts of an execution."""

    def __init__(
        self, timer: Timer | None = None, *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._timer = timer or SystemTimer()
        self._jitter = jitter
        self._hosts: dict[str, _Host] = {}

    def ask_delay(self, host: str, seconds: float | None) -> None:
        """Note the gap that the host's robots.txt asks for; None asks nothing."""
        self._host(host).crawl_delay = max(seconds or 0.0, 0.0)

    @asynccontextmanager
    async def turn(self, host: str, limits: PaceLimits) -> AsyncIterator[Turn]:
        """Wait for a turn at the host (first come, first served) and hold it within the block."""
        state = self._host(host)
        async with state.gate:
            await self._wait(state, limits)
            state.in_flight += 1
            state.next_start = self._timer.now() + self._gap(state, limits)
        try:
            yield Turn(state, limits, self._timer)
        finally:
            state.in_flight -= 1
            state.freed.set()

    def in_flight(self, host: str) -> int:
        """Return how many requests the host has to answer at the moment."""
        return self._host(host).in_flight

    async def _wait(self, state: _Host, limits: PaceLimits) -> None:
        while True:
            if state.in_flight >= max(1, min(int(state.window), limits.max_concurrency)):
                state.freed.clear()
                await state.freed.wait()
                continue
            left = max(state.next_start, state.paused_until) - self._timer.now()
            if left <= 0:
                return
            await self._timer.sleep(left)

    def _gap(self, state: _Host, limits: PaceLimits) -> float:
        rate = limits.requests_per_second
        gap = max(
            1.0 / rate if rate else 0.0,
            min(state.crawl_delay, limits.max_crawl_delay),
            state.backoff,
        )
        # Jitter only ever lengthens: what a site asked for is kept.
        return gap * (1.0 + _JITTER * self._jitter()) if state.backoff else gap

    def _host(self, host: str) -> _Host:
        return self._hosts.setdefault(host, _Host())
