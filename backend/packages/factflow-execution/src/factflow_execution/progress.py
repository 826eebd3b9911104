"""How far an execution is: lineage's counters, joined with what its routes have in hand now.

Lineage follows by a fraction of a second, and is allowed to be away; the queue's own numbers are of now.
"""

from __future__ import annotations

from dataclasses import dataclass

from factflow_engine.config.issues import ConfigurationError
from factflow_engine.execution_spec import RouteRuntime, RouteState
from factflow_execution.models import PipelineExecution
from factflow_execution.runtimes import Live, Runtimes
from factflow_execution.snapshot import snapshot_config
from factflow_lineage.errors import LineageUnavailableError
from factflow_lineage.filters import LineageFilter
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.stats import RouteCounts, StageStats


@dataclass(frozen=True, slots=True)
class RouteProgress:
    """A route's messages: all that came to it, those settled well or for worse, those in hand, those
    that wait, and those that wait for a retry. `avg_duration_ms` is stage time per settled message,
    `p50_ms` and `p95_ms` are of single calls of its stages; `per_second` messages were settled over the last
    minute, or over the whole time of an execution that ended, and `failure_share` of those settled failed
    (both None before the first)."""

    route_id: str
    name: str
    queue: str
    state: RouteState
    total_messages: int
    completed: int
    failed: int
    in_progress: int
    queued: int
    delayed: int
    avg_duration_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    per_second: float | None
    failure_share: float | None


@dataclass(frozen=True, slots=True)
class ExecutionStats:
    """Counts of messages over all routes, and of rows by stage (see `ProgressService.stages`). A message
    counts once in every route it comes to. `success_rate` is completed / (completed + failed), 0 when
    nothing settled."""

    execution_id: str
    total_messages: int
    completed_messages: int
    failed_messages: int
    in_progress_messages: int
    success_rate: float
    stages: tuple[StageStats, ...]


@dataclass(frozen=True, slots=True)
class PlanProgress:
    """How many of the messages that a replay planned are in its queues, or have been."""

    published: int
    planned: int


class ProgressService:
    """Answers how far executions are."""

    def __init__(
        self,
        lineage: PipelineLineageRepository,
        runtimes: Runtimes,
    ) -> None:
        self._lineage = lineage
        self._runtimes = runtimes

    async def routes(self, execution: PipelineExecution) -> list[RouteProgress]:
        """Return every route in the order of the YAML; with zeros where lineage does not answer."""
        try:
            config = snapshot_config(execution.config_snapshot)
        except ConfigurationError:
            return []
        live = await self._runtimes.of(execution)
        runtimes = {route.route_id: route for route in live.routes}
        try:
            counts = (await self._lineage.counts(execution.execution_id)).routes
        except LineageUnavailableError:
            counts = ()
        counted = {route.route_id: route for route in counts}
        return [
            _progress(
                runtimes.get(route_id)
                or RouteRuntime(
                    route_id=route_id,
                    name=route.name or route_id,
                    queue=route.inbound.queue,
                    state="stopped",
                    in_flight=0,
                    ready=0,
                    delayed=0,
                ),
                counted.get(route_id) or RouteCounts(route_id, 0, 0, 0, 0, None),
                _per_second(execution, live, counted.get(route_id), route_id),
                is_known=live.silent is None,
            )
            for route_id, route in config.routes.items()
        ]

    async def plan(self, execution: PipelineExecution) -> PlanProgress | None:
        """Return how far a replay is with its plan; None when it does not run, or is none."""
        planned = (execution.replay_source or {}).get("planned_messages")
        if not isinstance(planned, int):
            return None
        published = (await self._runtimes.of(execution)).published
        return None if published is None else PlanProgress(published, planned)

    async def stats(self, execution: PipelineExecution) -> ExecutionStats:
        """Return an execution's counts. Raises `LineageUnavailableError`."""
        stages = await self.stages(execution)
        routes = await self.routes(execution)
        completed = sum(route.completed for route in routes)
        failed = sum(route.failed for route in routes)
        total = sum(route.total_messages for route in routes)
        if execution.message_count is not None and execution.failed_count is not None:
            # The queue counted every message, also those lineage has lost.
            total, failed = execution.message_count, execution.failed_count
            if execution.status == "completed":
                completed = total - failed
        settled = completed + failed
        return ExecutionStats(
            execution_id=execution.execution_id,
            total_messages=total,
            completed_messages=completed,
            failed_messages=failed,
            in_progress_messages=max(0, total - settled),
            success_rate=completed / settled if settled else 0.0,
            stages=stages,
        )

    async def stages(
        self, execution: PipelineExecution, filters: LineageFilter | None = None
    ) -> tuple[StageStats, ...]:
        """Return the counts of the stages that have rows, in the order of the YAML: by route, then as
        a route's stages run. What the YAML does not name comes last, by name. Filters name the execution too.

        Raises `LineageUnavailableError`.
        """
        if filters is None:
            found = await self._lineage.stats(execution.execution_id)
        else:
            found = await self._lineage.totals(filters)
        try:
            config = snapshot_config(execution.config_snapshot)
        except ConfigurationError:
            return found
        names = [
            (route_id, adapter.stage_name)
            for route_id, route in config.routes.items()
            for adapter in route.adapters
        ]
        places = {name: place for place, name in enumerate(names)}
        return tuple(
            sorted(found, key=lambda stage: places.get((stage.route_id, stage.stage), len(places)))
        )


def _per_second(
    execution: PipelineExecution, live: Live, counts: RouteCounts | None, route_id: str
) -> float | None:
    """Return a route's pace of the last minute, or that of its whole time when it has ended; None
    before it settled anything."""
    if counts is None:
        return None
    if not execution.ended:
        return None if live.silent else live.per_second.get(route_id, 0.0)
    seconds = (execution.completed_at or execution.started_at) - execution.started_at
    return (counts.completed + counts.failed) / seconds if seconds > 0 else None


def _progress(
    now: RouteRuntime, counts: RouteCounts, rate: float | None, *, is_known: bool
) -> RouteProgress:
    settled = counts.completed + counts.failed
    in_progress = now.in_flight if is_known and now.state != "stopped" else counts.in_progress
    waiting = now.ready + now.delayed
    return RouteProgress(
        route_id=now.route_id,
        name=now.name,
        queue=now.queue,
        state=now.state,
        total_messages=counts.completed + counts.failed + in_progress + waiting,
        completed=counts.completed,
        failed=counts.failed,
        in_progress=in_progress,
        queued=now.ready,
        delayed=now.delayed,
        avg_duration_ms=counts.avg_duration_ms,
        p50_ms=counts.p50_ms,
        p95_ms=counts.p95_ms,
        per_second=rate,
        failure_share=counts.failed / settled if settled else None,
    )
