"""What is known when somebody asks why. Plain values of one moment; nothing here looks anything up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.envelope import Envelope
from factflow_engine.execution_spec import ExecutionSlots, RouteRuntime
from factflow_engine.stall_watch import Stall
from factflow_execution.execution_deletions import Deletion
from factflow_execution.models import PipelineExecution
from factflow_execution.workers import Share, Worker
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.unsettled import FailureGroup
from factflow_protocols.queue import MessagePlace, Progress


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in force. Times are Unix seconds; `until` is when it ends by itself."""

    since: float
    by: str | None = None
    reason: str | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class InWork:
    """A message in a stage's hands, and since when (Unix seconds)."""

    message_id: str
    stage: str
    since: float


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """A message that waits for another attempt at a stage, after an error. `at` is when, if known."""

    message_id: str
    stage: str
    attempt: int
    error_type: str
    error_message: str
    at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFacts:
    """One route of one running execution. `attempts` is how many each stage has; `gathering` counts
    the messages that wait for a batch, by stage; routes behind and before it are named."""

    runtime: RouteRuntime
    pause: Pause | None = None
    attempts: int = 1
    upstream: tuple[str, ...] = ()
    in_work: tuple[InWork, ...] = ()
    next_attempt: NextAttempt | None = None
    gathering: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the route's id."""
        return self.runtime.route_id

    @property
    def messages(self) -> int:
        """Return how many messages it has: waiting, in hand and delayed."""
        return self.runtime.ready + self.runtime.in_flight + self.runtime.delayed


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFacts:
    """One execution. `graph` is None when its snapshot cannot be read any more; `routes` has those
    that run in this process, by id, in the order of the YAML.

    `engine_holds` says what publishing (`_publisher`) and the end (`_end`) wait for, `end_unwritten` why
    the final status cannot be written, `put_off` why its recovery is tried later, `lineage_trouble` why
    lineage could not be asked. `workers` are those that are there, `shares` what they do with it;
    `silent_owner` is the server that runs it, and was asked in vain.
    """

    now: float
    execution: PipelineExecution
    graph: PipelineGraph | None = None
    runs_here: bool = False
    launching: bool = False
    slots: ExecutionSlots = field(default_factory=lambda: ExecutionSlots(0, 0))
    progress: Progress | None = None
    published: int | None = None
    planned: int | None = None
    engine_holds: Mapping[str, str] = field(default_factory=dict)
    end_unwritten: str | None = None
    put_off: str | None = None
    routes: Mapping[str, RouteFacts] = field(default_factory=dict)
    failures: tuple[FailureGroup, ...] = ()
    lineage_trouble: str | None = None
    deletion: Deletion | None = None
    stall: Stall | None = None
    workers: tuple[Worker, ...] = ()
    shares: tuple[Share, ...] = ()
    silent_owner: str | None = None

    @property
    def id(self) -> str:
        """Return the execution's id."""
        return self.execution.execution_id

    @property
    def name(self) -> str:
        """Return what a person may type for it: its tag, else its id."""
        return self.execution.tag or self.id

    @property
    def status(self) -> str:
        """Return the status as its row has it."""
        return self.execution.status


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFacts:
    """One message: its rows in the order its stages ran, its place in a queue, its envelope there.

    `missing_key` is an artefact that it needs or left and that storage lacks; `storage_trouble` says why
    storage could not be asked. `from_record` tells that the last row was made from a record, since lineage
    lacks it. `children_routes` are those its children enter.
    """

    message_id: str
    execution: ExecutionFacts
    rows: tuple[PipelineLineageEntry, ...] = ()
    place: MessagePlace | None = None
    envelope: Envelope | None = None
    gathering_at: str | None = None
    missing_key: str | None = None
    storage_trouble: str | None = None
    queue_trouble: str | None = None
    from_record: bool = False
    damaged_record: str | None = None
    failures_below: tuple[FailureGroup, ...] = ()
    under_way_below: tuple[PipelineLineageEntry, ...] = ()
    children_routes: tuple[str, ...] = ()

    @property
    def row(self) -> PipelineLineageEntry | None:
        """Return the furthest row."""
        return self.rows[-1] if self.rows else None

    @property
    def route_id(self) -> str | None:
        """Return the route it is in, or was in last."""
        if self.envelope is not None:
            return self.envelope.route
        return self.row.route_id if self.row is not None else None
