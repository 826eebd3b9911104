"""Executions on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from factflow_engine.execution_spec import RouteState
from factflow_execution.dag import EdgeKind
from factflow_execution.execution_deletions import Deletion
from factflow_execution.models import ExecutionSource, ExecutionStatus, ExecutionSummary
from factflow_server.api.schemas.deletions import DeletionSchema
from factflow_server.api.schemas.flow import FlowSchema
from factflow_server.api.schemas.paging import PageSchema
from factflow_server.api.schemas.times import duration_ms, iso

Tag = Annotated[str, Field(min_length=1, max_length=128)]
IdempotencyKey = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")]


class StartBody(BaseModel):
    """An execution to be started. `init` is laid over the YAML's init payload."""

    model_config = ConfigDict(extra="forbid")

    config_id: str = Field(min_length=1, max_length=200)
    init: dict[str, Any] | None = None
    tag: Tag | None = None
    metadata: dict[str, Any] | None = None
    trigger_context: dict[str, Any] | None = None
    """Why it is started, in words of the caller's own; kept and shown."""
    idempotency_key: IdempotencyKey | None = None
    """The same key gives the same execution; `Idempotency-Key` as a header says the same."""
    skip_init_message: bool = False
    loaded_code: bool = False


class CancelBody(BaseModel):
    """How long messages in hand may go on before they are cut off."""

    model_config = ConfigDict(extra="forbid")

    grace_seconds: float = Field(default=10.0, ge=0, le=3600)


class StatusBody(BaseModel):
    """The only status a client can ask for."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["cancelled"]


class WaitBody(BaseModel):
    """How long to wait for the end, in seconds."""

    model_config = ConfigDict(extra="forbid")

    timeout: float = Field(default=300.0, ge=1, le=3600)


class RecoverySchema(BaseModel):
    """When an execution was last taken up again, and from what: the `queue` that had survived, or, when
    it was lost, the `records` in storage. The counts are what the queue knew by then."""

    at: str
    source: Literal["queue", "records"]
    announced: int | None
    settled: int | None

    @classmethod
    def of(cls, recovery: Mapping[str, Any] | None) -> RecoverySchema | None:
        """Return what an execution's row says of it."""
        return None if recovery is None else cls(**{**recovery, "at": iso(recovery["at"])})


class ExecutionSchema(BaseModel):
    """One run of a snapshot; `id` is `execution_id` again. Counts are null while it runs."""

    execution_id: str
    id: str
    config_id: str | None
    config_name: str
    config_version: int | None
    config_hash: str
    status: ExecutionStatus
    started_at: str
    completed_at: str | None
    duration_ms: float | None
    parent_execution_id: str | None
    replay_source: dict[str, Any] | None
    tag: str | None
    source: ExecutionSource
    message_count: int | None
    failed_count: int | None
    warning: str | None
    recoveries: int
    """How often it was taken up again after a stop or a crash."""
    last_recovery: RecoverySchema | None
    cancel_requested: bool
    deletion: DeletionSchema | None
    """What was or is deleted of it."""

    @classmethod
    def of(cls, execution: ExecutionSummary, deletion: Deletion | None = None) -> ExecutionSchema:
        """Return the execution as its listing shows it."""
        return cls(**execution_fields(execution, deletion))


class RouteProgressSchema(FlowSchema):
    """How far a route is: messages that came to it, and where they are now."""

    model_config = ConfigDict(from_attributes=True)

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
    """Of single calls of the route's stages, as `p95_ms`."""
    p95_ms: float | None
    per_second: float | None
    """Messages settled in a second: since it was last asked for within 15 s, else since the start."""
    failure_share: float | None


class PlanProgressSchema(BaseModel):
    """How many of the messages that a replay planned are in its queues, or have been."""

    model_config = ConfigDict(from_attributes=True)

    published: int
    planned: int


class ExecutionDetailSchema(ExecutionSchema):
    """An execution with its snapshot and the state of its routes; `plan` is of a replay that runs."""

    config_snapshot: str
    metadata: dict[str, Any]
    trigger_context: dict[str, Any] | None
    idempotency_key: str | None
    error_info: dict[str, Any] | None
    held_by: list[str]
    """Executions that still read what this one stored: replays that have not completed."""
    plan: PlanProgressSchema | None
    routes: list[RouteProgressSchema]


class ExecutionPage(PageSchema):
    """A page of executions, newest first."""

    executions: list[ExecutionSchema]


class CancelResponse(BaseModel):
    """What a cancellation came to; `success` tells whether the execution ended cancelled."""

    success: bool
    execution_id: str
    previous_status: ExecutionStatus
    current_status: ExecutionStatus
    message: str


class WaitResponse(BaseModel):
    """`completed` tells that the execution ended, in whatever way, before the time was up."""

    completed: bool
    execution_id: str
    status: ExecutionStatus
    duration_ms: float | None
    message: str


class StageStatsSchema(BaseModel):
    """Counts and durations of one stage."""

    model_config = ConfigDict(from_attributes=True)

    route_id: str
    stage: str
    adapter: str
    count: int
    completed: int
    failed: int
    filtered: int
    avg_duration_ms: float | None
    p50_ms: float | None
    p95_ms: float | None


class ExecutionStatsSchema(BaseModel):
    """Counts of an execution; `success_rate` is completed / (completed + failed), from 0 to 1."""

    model_config = ConfigDict(from_attributes=True)

    execution_id: str
    total_messages: int
    completed_messages: int
    failed_messages: int
    in_progress_messages: int
    success_rate: float
    stages: list[StageStatsSchema]


class RoutesResponse(BaseModel):
    """All routes of an execution, in the order of its YAML."""

    execution_id: str
    routes: list[RouteProgressSchema]


class DagNodeSchema(BaseModel):
    """A route and its stages in order."""

    model_config = ConfigDict(from_attributes=True)

    route_id: str
    name: str
    queue: str
    adapters: list[str]


class DagEdgeSchema(BaseModel):
    """A route that sends to another's queue."""

    model_config = ConfigDict(from_attributes=True)

    from_route: str
    to_route: str
    queue: str
    kind: EdgeKind


class DagResponse(BaseModel):
    """How an execution's routes hang together, by its snapshot."""

    execution_id: str
    init_queue: str | None
    nodes: list[DagNodeSchema]
    edges: list[DagEdgeSchema]


def execution_fields(
    execution: ExecutionSummary, deletion: Deletion | None = None
) -> dict[str, Any]:
    """Return an execution's listed fields as they go on the wire."""
    return {
        "execution_id": execution.execution_id,
        "id": execution.execution_id,
        "config_id": execution.config_id,
        "config_name": execution.config_name,
        "config_version": execution.config_version,
        "config_hash": execution.config_hash,
        "status": execution.status,
        "started_at": iso(execution.started_at),
        "completed_at": iso(execution.completed_at),
        "duration_ms": duration_ms(execution.started_at, execution.completed_at),
        "parent_execution_id": execution.parent_execution_id,
        "replay_source": execution.replay_source,
        "tag": execution.tag,
        "source": execution.source,
        "message_count": execution.message_count,
        "failed_count": execution.failed_count,
        "warning": execution.warning,
        "recoveries": execution.recoveries,
        "last_recovery": RecoverySchema.of(execution.last_recovery),
        "cancel_requested": execution.cancel_requested,
        "deletion": None if deletion is None else DeletionSchema.of(deletion),
    }
