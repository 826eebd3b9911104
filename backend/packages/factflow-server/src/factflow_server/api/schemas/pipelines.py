"""Routes across executions, on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from factflow_engine.execution_spec import RouteState
from factflow_execution.models import ExecutionStatus
from factflow_execution.route_metrics import RouteMetrics
from factflow_server.api.schemas.executions import StageStatsSchema
from factflow_server.api.schemas.flow import BreakerSchema, FlowSchema, HeldBackSchema, PauseSchema


class RouteStateBody(BaseModel):
    """What a route is to be: `paused`, with a reason and a name for others to read, or `running`. A pause
    ends by itself at `until`, a time with its zone; without it, it lasts until the route is resumed."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["paused", "running"]
    reason: str | None = Field(default=None, max_length=1000)
    requested_by: str | None = Field(default=None, max_length=200)
    until: AwareDatetime | None = None


class RouteStateResponse(BaseModel):
    """What was done; `executions` are those that run the route now."""

    success: bool
    route_id: str
    status: Literal["paused", "running"]
    message: str
    executions: list[str]
    pause: PauseSchema | None


class RunningRouteSchema(FlowSchema):
    """A route of a running execution, and what it has in hand now."""

    execution_id: str
    route_id: str
    name: str
    queue: str
    state: RouteState
    in_progress: int
    queued: int
    delayed: int


class PipelinesResponse(BaseModel):
    """All routes that run, oldest execution first, and all pauses, of routes nobody runs too."""

    total: int
    routes: list[RunningRouteSchema]
    pauses: list[PauseSchema]


class ThroughputSchema(BaseModel):
    """Messages settled a second: over the last minute, and from the execution's start to its end or to
    now."""

    last_minute_per_second: float
    since_start_per_second: float


class RouteMetricsSchema(BaseModel):
    """A route in one execution. `failure_share` is failed / (completed + failed), null before the first.
    Counts and durations follow by a fraction of a second."""

    execution_id: str
    execution_status: ExecutionStatus
    name: str
    queue: str
    state: RouteState
    throughput: ThroughputSchema
    completed: int
    failed: int
    failure_share: float | None
    in_progress: int
    queued: int
    delayed: int
    concurrency: int | None
    held_back: HeldBackSchema | None
    holding: str | None
    breakers: list[BreakerSchema]
    avg_duration_ms: float | None
    stages: list[StageStatsSchema]

    @classmethod
    def of(cls, metrics: RouteMetrics) -> RouteMetricsSchema:
        """Return a route's metrics as they go on the wire."""
        progress = metrics.progress
        return cls(
            execution_id=metrics.execution_id,
            execution_status=metrics.execution_status,
            name=progress.name,
            queue=progress.queue,
            state=progress.state,
            throughput=ThroughputSchema(
                last_minute_per_second=round(metrics.per_second_last_minute, 3),
                since_start_per_second=round(metrics.per_second_since_start, 3),
            ),
            completed=progress.completed,
            failed=progress.failed,
            failure_share=metrics.failure_share,
            in_progress=progress.in_progress,
            queued=progress.queued,
            delayed=progress.delayed,
            concurrency=metrics.concurrency,
            held_back=HeldBackSchema.model_validate(metrics.held_back)
            if metrics.held_back
            else None,
            holding=metrics.holding,
            breakers=[BreakerSchema.of(breaker) for breaker in metrics.breakers],
            avg_duration_ms=progress.avg_duration_ms,
            stages=[StageStatsSchema.model_validate(stage) for stage in metrics.stages],
        )


class RouteMetricsResponse(BaseModel):
    """A route in each execution that was looked at, oldest first; `running` of them run now."""

    route_id: str
    timestamp: str
    running: int
    note: str | None
    executions: list[RouteMetricsSchema]
