"""Stored configs and executions as the rest of Factflow sees them. All times are Unix seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from factflow_engine.execution_spec import MessageSource
    from factflow_execution.idempotency import Idempotency

SourceType = Literal["api", "file", "imported"]
ExecutionStatus = Literal["running", "completed", "failed", "cancelled", "interrupted"]
ExecutionSource = Literal["api", "replay"]

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """A slice of a listing; `total` counts all rows that match, not those of the slice."""

    rows: list[RowT]
    total: int
    limit: int
    offset: int

    @property
    def has_more(self) -> bool:
        """Tell whether rows follow this slice."""
        return self.offset + len(self.rows) < self.total


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """A stored config in its newest version. `config_yaml` is the text as it was sent."""

    id: str
    name: str
    description: str | None
    source_type: SourceType
    source_path: str | None
    config_yaml: str
    config_hash: str
    version: int
    created_at: float
    updated_at: float
    is_active: bool


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """What a config said in one of its versions."""

    config_id: str
    version: int
    name: str
    config_yaml: str
    config_hash: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSummary:
    """One run of a snapshot, all but the snapshot's text.

    `replay_source` says what a replay was made from. `message_count` and `failed_count` are known once it
    ended.
    """

    execution_id: str
    config_id: str | None
    config_name: str
    config_version: int | None
    config_hash: str
    status: ExecutionStatus
    started_at: float
    completed_at: float | None = None
    parent_execution_id: str | None = None
    replay_source: dict[str, Any] | None = None
    tag: str | None = None
    source: ExecutionSource = "api"
    metadata: dict[str, Any] = field(default_factory=dict)
    trigger_context: dict[str, Any] | None = None
    """What the caller says of why it was started; kept and shown, never read."""
    idempotency_key: str | None = None
    request_hash: str | None = None
    """Of the request that the key came with."""
    error_info: dict[str, Any] | None = None
    message_count: int | None = None
    failed_count: int | None = None
    warning: str | None = None
    lineage_gap: int = 0
    """Lineage rows that are still to be rebuilt from outcome records, as far as that is known."""
    recoveries: int = 0
    """How often it was taken up again after a stop or a crash."""
    cancel_requested: bool = False
    """Someone asked for its end: no restart makes it run again."""
    skip_init: bool = False
    generation: int = 1
    """Which of its queues it runs on: a new one stands after the old one was lost."""
    last_recovery: dict[str, Any] | None = None
    """`{at, source, settled, announced}`: when it was last taken up, from its surviving `queue` or from
    its `records`, and how many of its messages had ended by then, as far as the queue knew."""

    @property
    def ended(self) -> bool:
        """Tell whether it no longer runs."""
        return self.status != "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineExecution(ExecutionSummary):
    """One run of a snapshot: `config_snapshot` is the YAML text it reads, whatever became of the stored
    config."""

    config_snapshot: str


@dataclass(frozen=True, slots=True)
class ExecutionDraft:
    """What is to be started, fresh or as a replay.

    `init` is laid over the YAML's init payload. A replay gives `prepare` instead: called with the new
    execution's id before anything runs, it writes the plan and returns what publishes it.
    `loaded_code` runs the adapters as loaded although their files have changed since.
    """

    config_id: str | None
    config_name: str
    config_version: int | None
    config_snapshot: str
    tag: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    trigger_context: dict[str, Any] | None = None
    source: ExecutionSource = "api"
    init: dict[str, Any] | None = None
    skip_init: bool = False
    parent_execution_id: str | None = None
    replay_source: dict[str, Any] | None = None
    prepare: Callable[[str], Awaitable[MessageSource]] | None = None
    loaded_code: bool = False
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class Cancellation:
    """An execution's status before and after it was asked to stop."""

    execution_id: str
    previous_status: ExecutionStatus
    current_status: ExecutionStatus
