"""Replays on the wire."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from factflow_execution.idempotency import Idempotency
from factflow_execution.models import PipelineExecution
from factflow_replay.replay.models import ReplayPlan, ReplayRequest, ReplayResult
from factflow_server.api.schemas.executions import (
    ExecutionSchema,
    IdempotencyKey,
    Tag,
    execution_fields,
)

MOST_IDS = 100_000
"""So many fit into a request."""
Name = Annotated[str, Field(min_length=1, max_length=500)]


class ReplayBody(BaseModel):
    """Continue from what `from_stage` (`stage` or `route/stage`) left, in a new execution.

    `dry_run` answers with the plan and starts nothing; `docs/guides/replay.md` tells what the rest does.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_stage: Name | None = None
    to_route: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    rerun: bool = False
    only: Literal["failed"] | None = None
    overlays: list[Name] = Field(default_factory=list, alias="with", max_length=100)
    messages: list[Name] = Field(default_factory=list, max_length=MOST_IDS)
    where: list[Annotated[str, Field(min_length=1, max_length=2_000)]] = Field(
        default_factory=list, max_length=100
    )
    sample: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    overrides: dict[Name, Any] = Field(default_factory=dict, alias="set", max_length=200)
    config_id: Name | None = None
    tag: Tag | None = None
    metadata: dict[str, Any] | None = None
    trigger_context: dict[str, Any] | None = None
    idempotency_key: IdempotencyKey | None = None
    loaded_code: bool = False
    dry_run: bool = False

    def request(self, source: str, idempotency: Idempotency | None) -> ReplayRequest:
        """Return what is asked of the service."""
        return ReplayRequest(
            from_execution_id=source,
            from_stage=self.from_stage,
            to_route=self.to_route,
            tag=self.tag,
            metadata=self.metadata or {},
            loaded_code=self.loaded_code,
            rerun=self.rerun,
            only=self.only,
            overlays=tuple(self.overlays),
            messages=tuple(self.messages),
            where=tuple(self.where),
            sample=self.sample,
            overrides=self.overrides,
            config_id=self.config_id,
            trigger_context=self.trigger_context,
            idempotency=idempotency,
        )


class ReplayFromBody(ReplayBody):
    """The same, naming the source in the body."""

    from_execution_id: str = Field(min_length=1, max_length=200)


class SelectedSchema(BaseModel):
    """Messages that are published, by how they stood at the stage; the last two with `rerun` only."""

    after_stage: int = 0
    at_stage_failed: int = 0
    at_stage_queued: int = 0
    skipped_by_condition: int = 0
    run_again: int = 0
    filtered_again: int = 0


class NotSelectedSchema(BaseModel):
    """Messages that came to the stage and are not published."""

    filtered: int = 0
    not_settled: int = 0
    finished: int = 0
    covered: int = 0
    without_artefact: int = 0
    not_failed: int = 0
    not_matched: int = 0
    not_sampled: int = 0


class EntrySchema(BaseModel):
    """Where published messages enter, and how many do."""

    model_config = ConfigDict(from_attributes=True)

    route: str
    stage: str
    queue: str
    messages: int


class PlannedStageSchema(BaseModel):
    """A stage that may run, with what ran there in the source (null: nothing did)."""

    model_config = ConfigDict(from_attributes=True)

    route: str
    stage: str
    adapter: str
    version: str | None
    source_adapter: str | None
    source_version: str | None
    changed: bool
    changed_on_disk: bool


class ConfigDifferenceSchema(BaseModel):
    """One place where the new snapshot differs from the source's."""

    model_config = ConfigDict(from_attributes=True)

    path: str
    kind: Literal["added", "removed", "changed"]
    old: Any = None
    new: Any = None


class PlanFields(BaseModel):
    """What a plan says; `plan_hash` is equal for plans that publish the same."""

    from_execution_id: str
    from_stage: str | None
    to_route: str | None
    to_queue: str | None
    overlays: list[str] = Field(serialization_alias="with")
    objects_found: int
    plan_hash: str
    entries: list[EntrySchema]
    selected: SelectedSchema
    not_selected: NotSelectedSchema
    stages: list[PlannedStageSchema]
    config_differences: list[ConfigDifferenceSchema]
    note: str


class ReplayPlanResponse(PlanFields):
    """The plan of a replay that was not started; with missing artefacts it cannot be."""

    dry_run: Literal[True] = True
    can_run: bool
    config_id: str | None
    config_name: str
    config_version: int | None
    config_hash: str
    source_config_hash: str
    missing: list[str]
    missing_count: int

    @classmethod
    def of_plan(cls, plan: ReplayPlan) -> ReplayPlanResponse:
        """Return a plan as it goes on the wire."""
        return cls(
            **plan_fields(plan),
            can_run=not plan.missing_count,
            config_id=plan.config_id,
            config_name=plan.config_name,
            config_version=plan.config_version,
            config_hash=plan.config_hash,
            source_config_hash=plan.source_config_hash,
            missing=list(plan.missing),
            missing_count=plan.missing_count,
        )


class ReplayResponse(ExecutionSchema, PlanFields):
    """The new execution, and what was chosen for it; `objects_published` is what its plan holds."""

    objects_published: int

    @classmethod
    def of_result(cls, result: ReplayResult) -> ReplayResponse:
        """Return what a replay answers."""
        return cls(
            **execution_fields(result.execution),
            **plan_fields(result.plan),
            objects_published=result.objects_found,
        )

    @classmethod
    def of_repeat(cls, execution: PipelineExecution) -> ReplayResponse:
        """Return what a repeated request is told: the execution as it is now, and what it keeps of its
        plan. Stages and differences are not kept."""
        source = execution.replay_source or {}
        counts = source.get("selected", {})
        return cls(
            **execution_fields(execution),
            **{name: source.get(name) for name in ("from_execution_id", "from_stage")},
            **{name: source.get(name) for name in ("to_route", "to_queue", "plan_hash")},
            overlays=source.get("with", []),
            objects_found=source.get("planned_messages", 0),
            objects_published=source.get("planned_messages", 0),
            entries=[EntrySchema(**entry) for entry in source.get("entries", ())],
            selected=SelectedSchema(**_only(SelectedSchema, counts)),
            not_selected=NotSelectedSchema(**_only(NotSelectedSchema, counts)),
            stages=[],
            config_differences=[],
            note="started before, under this idempotency key",
        )


def plan_fields(plan: ReplayPlan) -> dict[str, Any]:
    """Return what both answers say of a plan."""
    counts = asdict(plan.counts)
    return {
        "from_execution_id": plan.from_execution_id,
        "from_stage": plan.from_stage,
        "to_route": plan.to_route,
        "to_queue": plan.to_queue,
        "overlays": list(plan.overlays),
        "objects_found": plan.messages,
        "plan_hash": plan.plan_hash,
        "entries": [EntrySchema.model_validate(entry) for entry in plan.entries],
        "selected": SelectedSchema(**_only(SelectedSchema, counts)),
        "not_selected": NotSelectedSchema(**_only(NotSelectedSchema, counts)),
        "stages": [PlannedStageSchema.model_validate(stage) for stage in plan.stages],
        "config_differences": [
            ConfigDifferenceSchema.model_validate(found) for found in plan.differences
        ],
        "note": plan.note,
    }


def _only(model: type[BaseModel], counts: dict[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in model.model_fields if name in counts}
