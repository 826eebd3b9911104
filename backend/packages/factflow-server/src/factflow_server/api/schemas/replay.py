"""Replays on the wire."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from factflow_replay.replay.models import ReplayResult
from factflow_server.api.schemas.executions import ExecutionSchema, execution_fields


class ReplayBody(BaseModel):
    """Continue from what `from_stage` (`stage` or `route/stage`) left, in a new execution.

    With `to_route` its artefacts go to that route of the source's snapshot.
    """

    model_config = ConfigDict(extra="forbid")

    from_stage: str = Field(min_length=1, max_length=500)
    to_route: str | None = Field(default=None, min_length=1, max_length=200)
    tag: str | None = None
    metadata: dict[str, Any] | None = None
    loaded_code: bool = False


class ReplayFromBody(ReplayBody):
    """The same, naming the source in the body."""

    from_execution_id: str = Field(min_length=1, max_length=200)


class SelectedSchema(BaseModel):
    """Messages that are published, by how they stood at the stage."""

    after_stage: int = 0
    at_stage_failed: int = 0
    at_stage_queued: int = 0
    skipped_by_condition: int = 0


class NotSelectedSchema(BaseModel):
    """Messages that came to the stage and are not published."""

    filtered: int = 0
    not_settled: int = 0
    covered: int = 0
    without_artefact: int = 0


class ReplayResponse(ExecutionSchema):
    """The new execution, and what was chosen for it; `objects_published` is what its plan holds."""

    from_execution_id: str
    from_stage: str
    to_route: str | None
    to_queue: str
    objects_found: int
    objects_published: int
    selected: SelectedSchema
    not_selected: NotSelectedSchema
    note: str

    @classmethod
    def of_result(cls, result: ReplayResult) -> ReplayResponse:
        """Return what a replay answers."""
        counts = asdict(result.counts)
        return cls(
            **execution_fields(result.execution),
            from_execution_id=result.from_execution_id,
            from_stage=result.from_stage,
            to_route=result.to_route,
            to_queue=result.to_queue,
            objects_found=result.objects_found,
            objects_published=result.objects_found,
            selected=SelectedSchema(**_only(SelectedSchema, counts)),
            not_selected=NotSelectedSchema(**_only(NotSelectedSchema, counts)),
            note=result.note,
        )


def _only(model: type[BaseModel], counts: dict[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in model.model_fields}
