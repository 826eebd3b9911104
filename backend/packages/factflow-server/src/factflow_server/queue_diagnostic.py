"""A round trip through the queue, in a scope of its own: messages of executions are never touched.

One message goes through a queue of each name that running executions use: published, taken, settled. Then
the scope is deleted. Should the process die meanwhile, the next diagnostic clears what was left.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from factflow_execution.lease_keeper import LeaseKeeper
from factflow_execution.runtimes import Runtimes
from factflow_protocols.errors import FactflowError
from factflow_protocols.queue import OutgoingMessage, QueueProtocol, QueueScope

SCOPE = QueueScope("diagnostic")
OWN_QUEUE = "diagnostic"
BODY = b"factflow queue diagnostic"
CLEANUP_SECONDS = 2.0
TURN_SECONDS = 0.1
"""Between two looks whether another server has ended its diagnosis."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One message's way through a queue of this name, in milliseconds; None for steps not come to.

    `error` says which step failed, and how.
    """

    queue: str
    publish_ms: float | None
    take_ms: float | None
    settle_ms: float | None
    error: str | None

    @property
    def ok(self) -> bool:
        """Tell whether the message came back and was settled."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class QueueState:
    """A running execution's queue as it stands. `consumers` is 0 when its route takes nothing any more;
    a paused one stays subscribed."""

    execution_id: str
    route_id: str
    queue: str
    state: str
    consumers: int
    ready: int
    in_flight: int
    delayed: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found. `ok` when every round trip was, and nothing was left behind."""

    ok: bool
    total_ms: float
    cleanup_error: str | None
    round_trips: tuple[RoundTrip, ...]
    queues: tuple[QueueState, ...]


class QueueDiagnostic:
    """Runs one diagnosis at a time; with `leases`, one of all servers that share the queue."""

    def __init__(
        self, queue: QueueProtocol, runtimes: Runtimes, leases: LeaseKeeper | None = None
    ) -> None:
        self._queue = queue
        self._runtimes = runtimes
        self._leases = leases
        self._turn = asyncio.Lock()

    async def run(self, timeout: float = 5.0) -> Diagnosis:
        """Diagnose; each round trip may take `timeout` seconds. Raises nothing that the queue raises.

        After a round trip that failed the others are not tried.
        """
        async with self._turn, self._only_here():
            began = time.perf_counter()
            await self._clean_up()  # of one that was cut off
            states = await self._states()
            trips: list[RoundTrip] = []
            try:
                for name in sorted({OWN_QUEUE, *(state.queue for state in states)}):
                    trips.append(await self._trip(name, timeout))
                    if not trips[-1].ok:
                        break
            finally:
                left = await self._clean_up()
            return Diagnosis(
                ok=left is None and all(trip.ok for trip in trips),
                total_ms=_since(began),
                cleanup_error=left,
                round_trips=tuple(trips),
                queues=tuple(states),
            )

    @contextlib.asynccontextmanager
    async def _only_here(self) -> AsyncIterator[None]:
        """Wait until no other server diagnoses: all of them use the same scope."""
        if self._leases is None:
            yield
            return
        while True:
            if await self._leases.take(SCOPE.execution_id):
                break
            await asyncio.sleep(TURN_SECONDS)
        try:
            yield
        finally:
            await self._leases.give_back(SCOPE.execution_id)

    async def _trip(self, name: str, timeout: float) -> RoundTrip:
        took: dict[str, float] = {}
        step = "open"

        async def timed(next_step: str, action: Callable[[], Awaitable[T]]) -> T:
            nonlocal step
            step, began = next_step, time.perf_counter()
            result = await action()
            took[step] = _since(began)
            return result

        error: str | None = None
        try:
            async with asyncio.timeout(timeout):
                await self._queue.open(SCOPE)
                message = OutgoingMessage(name, f"diagnostic-{name}", BODY)
                await timed("publish", lambda: self._queue.publish(SCOPE, [message]))
                consumer = self._queue.subscribe(SCOPE, name)
                try:
                    delivery = await timed("take", consumer.take)
                    if delivery.body != BODY:
                        error = "take: another message came than was published"
                    await timed("settle", lambda: self._queue.settle(delivery))
                finally:
                    await consumer.close()
        except TimeoutError:
            error = f"{step}: no answer within {timeout:g} s"
        except FactflowError as failure:
            error = f"{step}: {failure.message}"
        return RoundTrip(name, took.get("publish"), took.get("take"), took.get("settle"), error)

    async def _clean_up(self) -> str | None:
        """Leave nothing behind; return why something may be."""
        try:
            async with asyncio.timeout(CLEANUP_SECONDS):
                await self._queue.delete(SCOPE)
        except TimeoutError:
            return f"delete: no answer within {CLEANUP_SECONDS:g} s"
        except FactflowError as failure:
            return f"delete: {failure.message}"
        return None

    async def _states(self) -> list[QueueState]:
        running = await self._runtimes.running()
        return [
            QueueState(
                execution_id,
                route.route_id,
                route.queue,
                route.state,
                consumers=int(route.state != "stopped"),
                ready=route.ready,
                in_flight=route.in_flight,
                delayed=route.delayed,
            )
            for execution_id, live in zip(
                running, await self._runtimes.of_all(running), strict=True
            )
            for route in live.routes
        ]


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
