"""What a replay is asked for, what its plan says, and what it started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from factflow_execution.idempotency import Idempotency
from factflow_execution.models import PipelineExecution

Only = Literal["failed"]
DifferenceKind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Continue from `from_stage` (`stage`, or `route/stage`) of an execution, named by id or tag.

    - `to_route`: the stage's artefacts go to that route's inbound queue instead of on down their way.
    - `rerun`: the stage itself runs again, for all that came to it.
    - `only` "failed": just the failed messages; without `from_stage` each at the stage it failed in.
    - `overlays`: earlier replays of the source (ids or tags), laid over it in this order.
    - `messages`: message, lineage or origin ids; `where`: `FIELD=VALUE`, `!=` or `~`, all must hold;
      `sample`: at most so many messages, the same ones every time.
    - `overrides`: adapter settings by `route.stage.key`; `config_id`: run that config's current version
      instead of the source's snapshot. Names are looked up where the new execution runs.
    """

    from_execution_id: str
    from_stage: str | None = None
    to_route: str | None = None
    tag: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    loaded_code: bool = False
    rerun: bool = False
    only: Only | None = None
    overlays: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    sample: int | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    config_id: str | None = None
    trigger_context: dict[str, Any] | None = None
    idempotency: Idempotency | None = None


@dataclass(slots=True)
class SelectionCounts:
    """Messages that came to the stage, by how they stood there.

    Published: `after_stage` (its stored artefacts), `skipped_by_condition` (their inputs),
    `at_stage_failed` and `at_stage_queued` (the stage runs on their inputs); with `rerun` also
    `run_again` (the stage had done them) and `filtered_again`.

    Not published: `filtered` ones, those `not_settled` in a running source, those `finished` at a stage
    that nothing follows, those `covered` by an earlier one on the same path, with `to_route` those
    `without_artefact`, and those left out: `not_failed` by `only`, `not_matched` by `messages` or
    `where`, `not_sampled` by `sample`.
    """

    after_stage: int = 0
    skipped_by_condition: int = 0
    at_stage_failed: int = 0
    at_stage_queued: int = 0
    run_again: int = 0
    filtered_again: int = 0
    filtered: int = 0
    not_settled: int = 0
    finished: int = 0
    covered: int = 0
    without_artefact: int = 0
    not_failed: int = 0
    not_matched: int = 0
    not_sampled: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """Where published messages enter, and how many do."""

    route: str
    stage: str
    queue: str
    messages: int


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage that may run in the replay, with what ran there in the source (None: nothing did)."""

    route: str
    stage: str
    adapter: str
    version: str | None
    source_adapter: str | None
    source_version: str | None
    changed_on_disk: bool

    @property
    def changed(self) -> bool:
        """Tell whether other code runs than in the source."""
        if self.source_adapter is None:
            return False
        return (self.adapter, self.version) != (self.source_adapter, self.source_version)


@dataclass(frozen=True, slots=True)
class ConfigDifference:
    """One place where the new snapshot differs from the source's. `old` is None when it was added,
    `new` when it was removed."""

    path: str
    kind: DifferenceKind
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """Exactly what a replay does: what is published where, which code runs, under which config.

    `plan_hash` is the SHA-256 of the published items' lines: equal plans publish the same. `missing`
    has the keys (the first of `missing_count`) of artefacts that are not in storage; a replay refuses
    to start while there is one.
    """

    from_execution_id: str
    from_stage: str | None
    to_route: str | None
    to_queue: str | None
    overlays: tuple[str, ...]
    messages: int
    plan_hash: str
    entries: tuple[Entry, ...]
    counts: SelectionCounts
    stages: tuple[PlannedStage, ...]
    config_id: str | None
    config_name: str
    config_version: int | None
    config_hash: str
    source_config_hash: str
    differences: tuple[ConfigDifference, ...]
    missing: tuple[str, ...]
    missing_count: int
    note: str


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The execution a replay started, and the plan it carries out."""

    execution: PipelineExecution
    plan: ReplayPlan

    @property
    def from_execution_id(self) -> str:
        """Return the source."""
        return self.plan.from_execution_id

    @property
    def from_stage(self) -> str | None:
        """Return the stage as `route/stage`."""
        return self.plan.from_stage

    @property
    def to_queue(self) -> str | None:
        """Return the queue everything enters through, None when there are several."""
        return self.plan.to_queue

    @property
    def objects_found(self) -> int:
        """Return how many messages are published."""
        return self.plan.messages

    @property
    def counts(self) -> SelectionCounts:
        """Return how the messages stood at the stage."""
        return self.plan.counts

    @property
    def note(self) -> str:
        """Return what a person should know of it."""
        return self.plan.note
