"""A round trip through the queue, in a scope of its own: messages of executions are never touched.

One message goes through a queue of each name that running executions use: published, taken, settled. Then
the scope is deleted. Should the process die meanwhile, the next diagnostic clears what was left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from factflow_engine.manager import OrchestratorManager
from factflow_protocols.errors import FactflowError
from factflow_protocols.queue import OutgoingMessage, QueueProtocol, QueueScope

SCOPE = QueueScope("diagnostic")
OWN_QUEUE = "diagnostic"
BODY = b"factflow queue diagnostic"
CLEANUP_SECONDS = 2.0

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
    """Runs one diagnosis at a time."""

    def __init__(self, queue: QueueProtocol, manager: OrchestratorManager) -> None:
        self._queue = queue
        self._manager = manager
        self._turn = asyncio.Lock()

    async def run(self, timeout: float = 5.0) -> Diagnosis:
        """Diagnose; each round trip may take `timeout` seconds. Raises nothing that the queue raises.

        After a round trip that failed the others are not tried.
        """
        async with self._turn:
            began = time.perf_counter()
            await self._clean_up()  # of one that was cut off
            states = self._states()
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

    def _states(self) -> list[QueueState]:
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
            for execution_id in self._manager.running()
            for route in self._manager.runtime(execution_id)
        ]


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
