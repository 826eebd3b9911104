"""A host is asked no faster than it likes; in virtual time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable

from factflow_webscraper.pacing import PaceLimits, Pacer, Turn


class VirtualTimer:
    """Time that stands still while anybody can do something."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._order), future))
        await future

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def run(self, *work: Awaitable[object]) -> None:
        """Move time on until all work is done."""
        everything = asyncio.gather(*work)
        while True:
            await self.settle()
            if everything.done():
                await everything
                return
            when, _, future = heapq.heappop(self._sleepers)
            self.time = max(self.time, when)
            if not future.done():
                future.set_result(None)


class Host:
    """A host under test: notes when requests start, and answers after `seconds`."""

    def __init__(self, limits: PaceLimits, *, seconds: float = 0.0, name: str = "a") -> None:
        self.timer = VirtualTimer()
        self.pacer = Pacer(self.timer, jitter=lambda: 0.0)
        self.limits, self.seconds, self.name = limits, seconds, name
        self.starts: list[float] = []
        self.busiest = 0

    async def request(self, tell: Callable[[Turn], None] | None = None) -> None:
        async with self.pacer.turn(self.name, self.limits) as turn:
            self.starts.append(self.timer.now() - 1000.0)
            self.busiest = max(self.busiest, self.pacer.in_flight(self.name))
            if self.seconds:
                await self.timer.sleep(self.seconds)
            if tell is None:
                turn.succeeded()
            else:
                tell(turn)


async def test_a_fixed_rate_is_kept() -> None:
    host = Host(PaceLimits(requests_per_second=4, max_concurrency=8))
    await host.timer.run(*(host.request() for _ in range(5)))
    assert host.starts == [0.0, 0.25, 0.5, 0.75, 1.0]


async def test_the_gap_asked_for_by_robots_is_kept_up_to_the_cap() -> None:
    host = Host(PaceLimits(max_crawl_delay=5))
    host.pacer.ask_delay("a", 2.0)
    await host.timer.run(host.request(), host.request())
    host.pacer.ask_delay("a", 3600.0)
    await host.timer.run(host.request(), host.request())
    assert host.starts == [0.0, 2.0, 4.0, 9.0]


async def test_concurrency_grows_with_good_answers_up_to_the_limit() -> None:
    host = Host(PaceLimits(max_concurrency=3), seconds=1.0)
    await host.timer.run(*(host.request() for _ in range(12)))
    assert host.starts[:3].count(0.0) == 2  # it begins carefully
    assert host.busiest == 3


def push_back(turn: Turn) -> None:
    turn.pushed_back()


async def test_push_back_halves_concurrency_once_per_round() -> None:
    host = Host(PaceLimits(max_concurrency=8), seconds=1.0)
    await host.timer.run(*(host.request() for _ in range(40)))
    assert host.busiest == 8
    await host.timer.run(*(host.request(push_back) for _ in range(8)))
    host.busiest = 0
    await host.timer.run(*(host.request(lambda _: None) for _ in range(10)))
    assert host.busiest == 4


async def test_a_host_in_trouble_is_given_growing_gaps_and_recovers() -> None:
    host = Host(PaceLimits(), seconds=0.1)
    for _ in range(6):
        await host.timer.run(host.request(push_back))
    gaps = [after - before for before, after in itertools.pairwise(host.starts)]
    assert gaps == sorted(gaps)
    assert gaps[-1] > 2 * gaps[-2] - 0.2 > 1
    for _ in range(12):
        await host.timer.run(host.request())
    assert host.starts[-1] - host.starts[-2] < gaps[1]


async def test_retry_after_stops_the_whole_host_and_no_other() -> None:
    host = Host(PaceLimits(max_pause=300))
    await host.timer.run(host.request(lambda turn: turn.pushed_back(30.0)))
    host.name = "b"
    await host.timer.run(host.request())
    host.name = "a"
    await host.timer.run(*(host.request() for _ in range(2)))
    assert host.starts[1] == 0.0
    assert all(start >= 30.0 for start in host.starts[2:])


async def test_retry_after_is_capped() -> None:
    host = Host(PaceLimits(max_pause=60))
    await host.timer.run(host.request(lambda turn: turn.pushed_back(1e9)))
    await host.timer.run(host.request())
    assert host.starts[1] == 60.0


async def test_a_cancelled_waiter_leaves_the_line_and_holds_nothing() -> None:
    host = Host(PaceLimits(max_concurrency=1))
    release = asyncio.Event()

    async def hold() -> None:
        async with host.pacer.turn("a", host.limits) as turn:
            await release.wait()
            turn.succeeded()

    holder = asyncio.create_task(hold())
    await host.timer.settle()
    waiters = [asyncio.create_task(host.request()) for _ in range(3)]
    await host.timer.settle()
    assert host.pacer.in_flight("a") == 1
    waiters[0].cancel()
    waiters[1].cancel()
    release.set()
    await asyncio.gather(holder, *waiters, return_exceptions=True)
    assert host.starts == [0.0]
    assert host.pacer.in_flight("a") == 0


async def test_a_failed_request_frees_its_place() -> None:
    host = Host(PaceLimits(max_concurrency=1))

    async def fail() -> None:
        async with host.pacer.turn("a", host.limits):
            raise ValueError

    await asyncio.gather(fail(), fail(), return_exceptions=True)
    await host.timer.run(host.request())
    assert len(host.starts) == 1
