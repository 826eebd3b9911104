"""How a route does in the executions that have it: pace, durations, failures, and what waits.

Counts and durations come from lineage's counters, the pace from what it wrote of late, and what is in hand
or waits from the queue. While lineage is in trouble its numbers stand still; they catch up afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from factflow_engine.config.issues import ConfigurationError
from factflow_engine.execution_spec import BreakerRuntime, HeldBack
from factflow_execution.config_repository import ConfigRepository
from factflow_execution.errors import RouteNotRunningError
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import ExecutionStatus, PipelineExecution
from factflow_execution.progress import ProgressService, RouteProgress
from factflow_execution.runtimes import Runtimes
from factflow_execution.snapshot import snapshot_config
from factflow_foundation.clock import Clock, isoformat
from factflow_lineage.stats import StageStats


@dataclass(frozen=True, slots=True)
class RouteMetrics:
    """A route in one execution. Throughput is in messages settled a second: over the last minute (0 when
    it ended), and from the execution's start to its end or to now. `failure_share` is failed / settled,
    None when none settled. `stages` come in the order they run."""

    execution_id: str
    execution_status: ExecutionStatus
    progress: RouteProgress
    concurrency: int | None
    held_back: HeldBack | None
    holding: str | None
    breakers: tuple[BreakerRuntime, ...]
    per_second_last_minute: float
    per_second_since_start: float
    failure_share: float | None
    stages: tuple[StageStats, ...]


@dataclass(frozen=True, slots=True)
class RouteReport:
    """A route in the executions that were looked at, oldest first, `running` of which run. `note` says to a
    person which one that is when none runs."""

    executions: Sequence[RouteMetrics]
    running: int = 0
    note: str | None = None


class RouteMetricsService:
    """Answers how a route does, or did."""

    def __init__(
        self,
        *,
        executions: ExecutionService,
        repository: ExecutionRepository,
        configs: ConfigRepository,
        runtimes: Runtimes,
        progress: ProgressService,
        clock: Clock,
    ) -> None:
        self._executions = executions
        self._repository = repository
        self._configs = configs
        self._runtimes = runtimes
        self._progress = progress
        self._clock = clock

    async def of(self, route_id: str, execution: str | None = None) -> RouteReport:
        """Return the route in every running execution that has it; in the latest that had it when none runs,
        or in none when it was never run; or in one execution (id or tag), whether it runs or ended.

        Raises `RouteNotRunningError` for a name that no execution and no config knows, or that the execution
        asked for has not; `ExecutionNotFoundError`, and `LineageUnavailableError`.
        """
        if execution is not None:
            asked = await self._executions.get(execution)
            if not _has(route_id, asked.config_snapshot):
                raise RouteNotRunningError(route_id, execution)
            return RouteReport([await self._one(route_id, asked)], running=int(not asked.ended))
        running = await self._runtimes.running(route_id)
        if not running:
            return await self._of_none(route_id)
        found = [await self._one(route_id, await self._executions.get(id_)) for id_ in running]
        return RouteReport(found, running=len(found))

    async def _of_none(self, route_id: str) -> RouteReport:
        """Return a route that no execution runs now."""
        for latest in await self._repository.newest_naming(route_id):
            if await asyncio.to_thread(_has, route_id, latest.config_snapshot):
                at = latest.completed_at or latest.started_at
                note = (
                    "no execution runs this route now; the latest that had it is "
                    f"{latest.execution_id}, {latest.status} on {isoformat(at)}"
                )
                return RouteReport([await self._one(route_id, latest)], note=note)
        for text in await self._configs.texts_naming(route_id):
            if await asyncio.to_thread(_has, route_id, text):
                return RouteReport([], note="no execution has run this route yet; a config has it")
        raise RouteNotRunningError(route_id, None)

    async def _one(self, route_id: str, execution: PipelineExecution) -> RouteMetrics:
        routes = await self._progress.routes(execution)
        progress = next(route for route in routes if route.route_id == route_id)
        stages = await self._progress.stages(execution)
        routes_now = (await self._runtimes.of(execution)).routes
        now = next((route for route in routes_now if route.route_id == route_id), None)
        end = execution.completed_at or self._clock.now()
        seconds = end - execution.started_at
        settled = progress.completed + progress.failed
        return RouteMetrics(
            execution_id=execution.execution_id,
            execution_status=execution.status,
            progress=progress,
            concurrency=now.concurrency if now else None,
            held_back=now.held_back if now else None,
            holding=now.holding if now else None,
            breakers=now.breakers if now else (),
            per_second_last_minute=0.0 if execution.ended else progress.per_second or 0.0,
            per_second_since_start=settled / seconds if seconds > 0 else 0.0,
            failure_share=progress.failed / settled if settled else None,
            stages=tuple(stage for stage in stages if stage.route_id == route_id),
        )


def _has(route_id: str, text: str) -> bool:
    try:
        return route_id in snapshot_config(text).routes
    except ConfigurationError:
        return False
