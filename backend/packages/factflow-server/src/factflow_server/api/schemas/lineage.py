"""Lineage on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from factflow_lineage.listing import LineagePage as FoundRows
from factflow_lineage.models import PipelineLineageEntry, StageStatus
from factflow_server.api.schemas.executions import StageStatsSchema

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


class LineagePage(BaseModel):
    """A page of rows. `total` rows match in all, null where counting them would mean reading very many.

    A search in what no index knows looks at a bounded number of rows (`scanned`): its page may hold few
    rows or none while `has_more` is true, and goes on with `next_cursor` as `cursor`.
    """

    total: int | None
    limit: int
    offset: int
    has_more: bool
    scanned: int
    next_cursor: str | None
    entries: list[LineageRow]

    @classmethod
    def of(cls, page: FoundRows) -> LineagePage:
        """Return the page as it goes on the wire."""
        return cls(
            total=page.total,
            limit=page.limit,
            offset=page.offset,
            has_more=page.has_more,
            scanned=page.scanned,
            next_cursor=page.next_cursor,
            entries=[LineageRow.of(entry) for entry in page.entries],
        )


class ChainResponse(BaseModel):
    """A row with all that led to it, root first, and all that came of it by depth."""

    id: str
    ancestors: list[LineageRow]
    entry: LineageRow
    descendants: list[DescendantRow]
    truncated: bool


class ChildrenResponse(LineagePage):
    """The rows whose parent a row is."""

    id: str


class LineageStatsResponse(BaseModel):
    """Counts and durations by stage, of an execution or (null) over all. `count` are the rows that match,
    `completed` and `failed` those of them that have ended."""

    execution_id: str | None
    stages: list[StageStatsSchema]
