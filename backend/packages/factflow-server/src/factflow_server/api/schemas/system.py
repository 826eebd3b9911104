"""The server's health and numbers on the wire."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from factflow_engine.execution_spec import FinalStatus
from factflow_execution.models import ExecutionStatus
from factflow_execution.system_metrics import SystemMetrics
from factflow_server.api.schemas.times import iso
from factflow_server.component import Component, HealthStatus


class ComponentDebugSchema(BaseModel):
    """How long a part took to answer, and what it tells of itself: numbers and settings, no secrets."""

    latency_ms: float | None
    details: dict[str, int | float | str | bool | None]


class ComponentSchema(BaseModel):
    """How one part of the server is. `hint`: what to do about it; `debug` only when it was asked for."""

    name: str
    status: HealthStatus
    message: str
    hint: str
    checked_at: str
    debug: ComponentDebugSchema | None

    @classmethod
    def of(cls, component: Component, *, debug: bool) -> ComponentSchema:
        """Return a component as it goes on the wire."""
        return cls(
            name=component.name,
            status=component.status,
            message=component.message,
            hint=component.hint,
            checked_at=iso(component.checked_at),
            debug=ComponentDebugSchema(
                latency_ms=component.latency_ms, details=dict(component.details)
            )
            if debug
            else None,
        )


class HealthResponse(BaseModel):
    """The server's health: as bad as its worst component."""

    status: HealthStatus
    components: list[ComponentSchema]
    timestamp: str
    version: str
    uptime_seconds: float
    data_dir: str


class ProbeResponse(BaseModel):
    """`ok`, or why not."""

    status: str


class StallSchema(BaseModel):
    """What held the event loop, for how many seconds at least, and when."""

    stage: str
    seconds: float
    noticed_at: str


class EventLoopSchema(BaseModel):
    """How often something held the event loop for a second or longer since the server's start."""

    stalls: int
    stalled_seconds: float
    last_stall: StallSchema | None


class LineageMetricsSchema(BaseModel):
    """Rows that wait to be written, were given up since the start, and are to be made again."""

    ok: bool
    backlog: int
    dropped: int
    gap_rows: int


class SystemMetricsResponse(BaseModel):
    """One snapshot. Messages and `executions_ended` count since the server's start; an execution that was
    taken up again brings the messages it had before. `executions` counts all there are, by status.
    `messages_in_flight` are in a route's hands, `queued` and `delayed` ones wait."""

    timestamp: str
    uptime_seconds: float
    messages_received: int
    messages_completed: int
    messages_failed: int
    messages_in_flight: int
    messages_queued: int
    messages_delayed: int
    running_routes: int
    paused_routes: int
    executions: dict[ExecutionStatus, int]
    executions_ended: dict[FinalStatus, int]
    event_loop: EventLoopSchema
    lineage: LineageMetricsSchema

    @classmethod
    def of(cls, now: SystemMetrics, timestamp: float, uptime: float) -> SystemMetricsResponse:
        """Return a snapshot as it goes on the wire."""
        stall = now.last_stall
        return cls(
            timestamp=iso(timestamp),
            uptime_seconds=uptime,
            messages_received=now.messages_received,
            messages_completed=now.messages_completed,
            messages_failed=now.messages_failed,
            messages_in_flight=now.in_flight,
            messages_queued=now.queued,
            messages_delayed=now.delayed,
            running_routes=now.running_routes,
            paused_routes=now.paused_routes,
            executions=dict(now.executions),
            executions_ended=dict(now.ended),
            event_loop=EventLoopSchema(
                stalls=now.stalls,
                stalled_seconds=round(now.stalled_seconds, 3),
                last_stall=StallSchema(
                    stage=stall.stage, seconds=round(stall.seconds, 3), noticed_at=iso(stall.at)
                )
                if stall
                else None,
            ),
            lineage=LineageMetricsSchema(
                ok=now.lineage_ok,
                backlog=now.lineage_backlog,
                dropped=now.lineage_dropped,
                gap_rows=now.lineage_gap_rows,
            ),
        )


class DiagnosticBody(BaseModel):
    """How many seconds each round trip may take."""

    model_config = ConfigDict(extra="forbid")

    timeout_seconds: float = Field(default=5.0, gt=0, le=60)


class RoundTripSchema(BaseModel):
    """One message's way through a queue of this name; steps not come to are null."""

    model_config = ConfigDict(from_attributes=True)

    queue: str
    ok: bool
    publish_ms: float | None
    take_ms: float | None
    settle_ms: float | None
    error: str | None


class QueueStateSchema(BaseModel):
    """A running execution's queue as it stands."""

    model_config = ConfigDict(from_attributes=True)

    execution_id: str
    route_id: str
    queue: str
    state: str
    consumers: int
    ready: int
    in_flight: int
    delayed: int


class DiagnosticResponse(BaseModel):
    """What a diagnosis of the queue found; 200 also when `ok` is false."""

    model_config = ConfigDict(from_attributes=True)

    ok: bool
    total_ms: float
    cleanup_error: str | None
    round_trips: list[RoundTripSchema]
    queues: list[QueueStateSchema]
