"""The server's health and numbers on the wire."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from factflow_engine.execution_spec import FinalStatus
from factflow_execution.models import ExecutionStatus
from factflow_execution.system_metrics import SystemMetrics
from factflow_server.api.schemas.deletions import DeletionSchema
from factflow_server.api.schemas.times import iso
from factflow_server.component import Component, HealthStatus
from factflow_server.storage_report import ReportedExecution, StorageReport
from factflow_server.worker_report import ReportedWorker


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
    data_dir: str | None
    """Shown to whoever may change something."""


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


class DatabaseFileSchema(BaseModel):
    """A database file; bytes of the disk."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    disk_bytes: int


class UsageSchema(BaseModel):
    """What an execution takes of the storage, as it was counted then: null before its first count. It could
    be deleted when it has ended and nobody holds it."""

    execution_id: str
    tag: str | None
    config_name: str
    status: ExecutionStatus
    started_at: str
    completed_at: str | None
    objects: int | None
    records: int | None
    bytes: int | None
    disk_bytes: int | None
    counted_at: str | None
    held_by: list[str]
    deletable: bool
    deletion: DeletionSchema | None

    @classmethod
    def of(cls, reported: ReportedExecution) -> UsageSchema:
        """Return an execution of a report."""
        row, usage = reported.counted.execution, reported.counted.usage
        return cls(
            execution_id=row.execution_id,
            tag=row.tag,
            config_name=row.config_name,
            status=row.status,
            started_at=iso(row.started_at) or "",
            completed_at=iso(row.completed_at),
            objects=usage and usage.objects,
            records=usage and usage.records,
            bytes=usage and usage.bytes,
            disk_bytes=usage and usage.disk_bytes,
            counted_at=iso(reported.counted.counted_at),
            held_by=list(reported.held_by),
            deletable=row.status not in {"running", "interrupted"} and not reported.held_by,
            deletion=None if reported.deletion is None else DeletionSchema.of(reported.deletion),
        )


class StorageResponse(BaseModel):
    """What takes the space. `disk_bytes` is the sum over the executions counted so far; `complete` tells that
    these are all, `counting` how many are left. Executions come by size, the largest first."""

    kind: str
    complete: bool
    counting: int
    counting_objects: int
    disk_total: int
    disk_free: int
    disk_bytes: int
    objects: int
    total: int
    limit: int
    offset: int
    has_more: bool
    databases: list[DatabaseFileSchema]
    executions: list[UsageSchema]
    hints: list[str]

    @classmethod
    def of(cls, report: StorageReport, limit: int, offset: int) -> StorageResponse:
        """Return a report as it goes on the wire."""
        return cls(
            kind=report.kind,
            complete=report.complete,
            counting=report.counting,
            counting_objects=report.counting_objects,
            disk_total=report.disk_total,
            disk_free=report.disk_free,
            disk_bytes=report.sums.usage.disk_bytes,
            objects=report.sums.usage.objects,
            total=report.sums.count,
            limit=limit,
            offset=offset,
            has_more=offset + len(report.executions) < report.sums.count,
            databases=[DatabaseFileSchema.model_validate(file) for file in report.databases],
            executions=[UsageSchema.of(one) for one in report.executions],
            hints=list(report.hints),
        )


class WorkerSchema(BaseModel):
    """A worker that is there. `routes` null: all of them; `concurrency` null: as each pipeline says.
    `refuses` and `holding` say why, by execution and by `EXECUTION/ROUTE`."""

    worker_id: str
    host: str
    pid: int
    routes: list[str] | None
    concurrency: int | None
    started_at: str
    seen_at: str
    works_on: list[str]
    refuses: dict[str, str]
    holding: dict[str, str]

    @classmethod
    def of(cls, reported: ReportedWorker) -> WorkerSchema:
        """Return a worker as it goes on the wire."""
        worker = reported.worker
        return cls(
            worker_id=worker.worker_id,
            host=worker.host,
            pid=worker.pid,
            routes=None if worker.routes is None else list(worker.routes),
            concurrency=worker.concurrency,
            started_at=iso(worker.started_at) or "",
            seen_at=iso(worker.seen_at) or "",
            works_on=reported.works_on,
            refuses=reported.refuses,
            holding=dict(worker.holding or {}),
        )


class WorkersResponse(BaseModel):
    """The workers that are there, the oldest first; `shared` is false where the server works alone, since
    its queue or its database is its own."""

    shared: bool
    workers: list[WorkerSchema]
