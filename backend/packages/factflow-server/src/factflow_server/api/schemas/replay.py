"""Replays on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from factflow_server.api.schemas.executions import ExecutionSchema


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


class ReplayResponse(ExecutionSchema):
    """The new execution, and what was chosen for it."""

    from_execution_id: str
    from_stage: str
    to_route: str | None
    to_queue: str | None
    objects_found: int
    objects_published: int
    selected: SelectedSchema
    not_selected: NotSelectedSchema
    note: str
