"""Lineage on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from factflow_lineage.models import PipelineLineageEntry, StageStatus
from factflow_server.api.schemas.executions import StageStatsSchema
from factflow_server.api.schemas.paging import PageSchema

SortOrder = Literal["asc", "desc"]


class RowErrorSchema(BaseModel):
    """Why a stage failed."""

    type: str
    message: str
    traceback: str


class LineageRow(BaseModel):
    """What one stage did for one message.

    `status` is `processing` as long as a child is unfinished; `outcome` tells how the stage ended.
    """

    id: str
    execution_id: str
    route_id: str
    stage: str
    adapter: str
    adapter_version: str
    message_id: str
    origin_id: str
    parent_id: str | None
    replayed_from: str | None
    root_id: str | None
    status: StageStatus
    outcome: str | None
    attempts: int
    input_hash: str | None
    output_hash: str | None
    input_key: str | None
    output_key: str | None
    output_count: int
    pending_children: int
    error: RowErrorSchema | None
    started_at: str
    completed_at: str | None
    duration_ms: float | None
    batch_id: str | None
    metadata: dict[str, Any]

    @classmethod
    def of(cls, entry: PipelineLineageEntry) -> LineageRow:
        """Return the row as it goes on the wire."""
        return cls.model_validate(entry.to_row())


class DescendantRow(LineageRow):
    """A row below another; its children have depth 1."""

    depth: int

    @classmethod
    def at(cls, entry: PipelineLineageEntry, depth: int) -> DescendantRow:
        """Return the row as it goes on the wire."""
        return cls.model_validate({**entry.to_row(), "depth": depth})


class LineagePage(PageSchema):
    """A page of rows."""

    entries: list[LineageRow]


class ChainResponse(BaseModel):
    """A row with all that led to it, root first, and all that came of it by depth."""

    id: str
    ancestors: list[LineageRow]
    entry: LineageRow
    descendants: list[DescendantRow]
    truncated: bool


class ChildrenResponse(BaseModel):
    """The rows whose parent a row is."""

    id: str
    entries: list[LineageRow]
    total: int


class LineageStatsResponse(BaseModel):
    """Counts and durations of an execution's stages."""

    execution_id: str
    stages: list[StageStatsSchema]
