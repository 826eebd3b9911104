"""The orchestrator in numbers, as it stands at this moment; read from what is counted anyway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from factflow_engine.execution_spec import FinalStatus, RouteRuntime
from factflow_engine.manager import OrchestratorManager
from factflow_engine.stall_watch import Stall
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.models import ExecutionStatus
from factflow_lineage.tallies import StageKey, StageTally
from factflow_lineage.writer import LineageService


@dataclass(frozen=True, slots=True)
class RouteLoad:
    """A route over all running executions: how many run it, and their messages in hand and waiting.

    `held_back`, `holding` and `breakers_open` count executions in which it takes nothing for that reason.
    """

    route_id: str
    running: int
    paused: int
    in_flight: int
    queued: int
    delayed: int
    held_back: int
    holding: int
    breakers_open: int


@dataclass(frozen=True, slots=True)
class SystemMetrics:
    """One snapshot. Messages and `ended` count since the server's start, `executions` all there are.

    `in_flight` messages are in a route's hands, `queued` and `delayed` ones wait in queues.
    """

    messages_received: int
    messages_completed: int
    messages_failed: int
    in_flight: int
    queued: int
    delayed: int
    running_routes: int
    paused_routes: int
    executions: Mapping[ExecutionStatus, int]
    ended: Mapping[FinalStatus, int]
    loads: tuple[RouteLoad, ...]
    stalls: int
    stalled_seconds: float
    last_stall: Stall | None
    lineage_backlog: int
    lineage_dropped: int
    lineage_gap_rows: int
    lineage_ok: bool
    stages: Mapping[StageKey, StageTally]


class SystemMetricsService:
    """Takes snapshots, when somebody asks."""

    def __init__(
        self,
        repository: ExecutionRepository,
        manager: OrchestratorManager,
        lineage: LineageService,
    ) -> None:
        self._repository = repository
        self._manager = manager
        self._lineage = lineage

    async def snapshot(self) -> SystemMetrics:
        """Return the numbers of now. Raises `QueueUnavailableError`, and what the database raises."""
        counted = await self._repository.count_by_status()
        messages = await self._manager.messages()
        ended = self._manager.ended()
        routes = [
            route
            for execution_id in self._manager.running()
            for route in self._manager.runtime(execution_id)
        ]
        lineage, watch = self._lineage.health(), self._manager.watch
        return SystemMetrics(
            messages_received=messages.announced,
            messages_completed=messages.settled - messages.failed,
            messages_failed=messages.failed,
            in_flight=sum(route.in_flight for route in routes),
            queued=sum(route.ready for route in routes),
            delayed=sum(route.delayed for route in routes),
            running_routes=sum(route.state == "running" for route in routes),
            paused_routes=sum(route.state == "paused" for route in routes),
            executions={status: counted.get(status, 0) for status in get_args(ExecutionStatus)},
            ended={status: ended.get(status, 0) for status in get_args(FinalStatus)},
            loads=tuple(
                _load(route_id, [route for route in routes if route.route_id == route_id])
                for route_id in sorted({route.route_id for route in routes})
            ),
            stalls=watch.stalls,
            stalled_seconds=watch.stalled_seconds,
            last_stall=watch.last,
            lineage_backlog=lineage.backlog,
            lineage_dropped=lineage.dropped,
            lineage_gap_rows=sum(self._lineage.gaps().values()),
            lineage_ok=lineage.ok,
            stages=self._lineage.tallies.stages,
        )


def _load(route_id: str, routes: list[RouteRuntime]) -> RouteLoad:
    return RouteLoad(
        route_id,
        running=sum(route.state == "running" for route in routes),
        paused=sum(route.state == "paused" for route in routes),
        in_flight=sum(route.in_flight for route in routes),
        queued=sum(route.ready for route in routes),
        delayed=sum(route.delayed for route in routes),
        held_back=sum(route.held_back is not None for route in routes),
        holding=sum(route.holding is not None for route in routes),
        breakers_open=sum(bool(route.breakers) for route in routes),
    )
