"""Lineage: `/api/v1/lineage`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from factflow_lineage.filters import LineageFilter
from factflow_lineage.metadata_search import MetadataCondition
from factflow_lineage.models import StageStatus
from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.executions import StageStatsSchema
from factflow_server.api.schemas.lineage import (
    ChainResponse,
    ChildrenResponse,
    DescendantRow,
    LineagePage,
    LineageRow,
    LineageStatsResponse,
    SortOrder,
)
from factflow_server.api.schemas.paging import Cursor, Limit, Offset
from factflow_server.container import Container

router = APIRouter(prefix="/lineage", tags=["lineage"])

ManyRows = Annotated[int, Query(ge=1, le=10_000, description="Rows in this page.")]
StartedAfter = Annotated[datetime | None, Query(description="At or after.")]
StartedBefore = Annotated[datetime | None, Query(description="At or before.")]
Outcome = Literal["stored", "fanned_out", "filtered", "failed", "passed"]


@dataclass(frozen=True, slots=True)
class RowConditions:
    """What rows may be narrowed by, as query parameters. All given conditions must hold."""

    execution_id: str | None = None
    route_id: str | None = None
    adapter: str | None = None
    stage: str | None = None
    outcome: Outcome | None = None
    url: Annotated[str | None, Query(description="A part of the URL, whatever the case.")] = None
    title: Annotated[str | None, Query(description="A part of the title.")] = None
    where: Annotated[
        list[str] | None, Query(description="`key=value`: a metadata field has this value.")
    ] = None
    error_type: Annotated[str | None, Query(description="Class of the error.")] = None
    started_after: StartedAfter = None
    started_before: StartedBefore = None
    limit: ManyRows = 100
    offset: Offset = 0
    cursor: Cursor = None

    async def filter(self, services: Container, **more: Any) -> LineageFilter:
        """Return them as the repository takes them. Raises `ExecutionNotFoundError`."""
        return LineageFilter(
            execution_id=await _execution(services, self.execution_id),
            route_id=self.route_id,
            adapter=self.adapter,
            stage=self.stage,
            outcome=self.outcome,
            url=self.url,
            title=self.title,
            where=tuple(map(MetadataCondition.parse, self.where or ())),
            error_type=self.error_type,
            started_after=_seconds(self.started_after),
            started_before=_seconds(self.started_before),
            limit=self.limit,
            offset=self.offset,
            cursor=self.cursor,
            **more,
        )


@router.get("", operation_id="list_lineage")
async def list_lineage(
    *,
    services: Services,
    conditions: Annotated[RowConditions, Depends()],
    status: StageStatus | None = None,
    is_root: bool | None = None,
    message_id: str | None = None,
    batch_id: str | None = None,
    sort_order: SortOrder = "asc",
) -> LineagePage:
    """List rows, ordered by start."""
    wanted = await conditions.filter(
        services,
        status=status,
        is_root=is_root,
        message_id=message_id,
        batch_id=batch_id,
        sort_order=sort_order,
    )
    return LineagePage.of(await services.lineage_repository.list(wanted))


@router.get("/failures", operation_id="list_failures")
async def list_failures(
    services: Services, conditions: Annotated[RowConditions, Depends()]
) -> LineagePage:
    """List failed rows, the latest failure first; times are those of failing."""
    found = await services.lineage_repository.failures(await conditions.filter(services))
    return LineagePage.of(found)


@router.get("/stats", operation_id="get_lineage_stats")
async def get_lineage_stats(  # noqa: PLR0917 - FastAPI passes them by name
    services: Services,
    execution_id: str | None = None,
    route_id: str | None = None,
    stage: str | None = None,
    adapter: str | None = None,
    status: StageStatus | None = None,
    started_after: StartedAfter = None,
    started_before: StartedBefore = None,
) -> LineageStatsResponse:
    """Get counts and durations by stage: of an execution, in the pipeline's order, or over all of them.

    They come from counters, whatever the number of rows; for a status or a time the rows are gone through.
    """
    filters = LineageFilter(
        route_id=route_id,
        stage=stage,
        adapter=adapter,
        status=status,
        started_after=_seconds(started_after),
        started_before=_seconds(started_before),
    )
    if execution_id is None:
        stages = await services.lineage_repository.totals(filters)
    else:
        execution = await services.executions.stored(execution_id)
        execution_id = execution.execution_id
        stages = await services.progress.stages(
            execution, replace(filters, execution_id=execution_id)
        )
    return LineageStatsResponse(
        execution_id=execution_id,
        stages=[StageStatsSchema.model_validate(stage) for stage in stages],
    )


@router.get("/{row_id}", operation_id="get_lineage_entry")
async def get_lineage_entry(row_id: str, services: Services) -> LineageRow:
    """Get a row by its id, or the furthest row of a message by the message's id."""
    return LineageRow.of(await services.lineage_repository.get(row_id))


@router.get("/{row_id}/chain", operation_id="get_lineage_chain")
async def get_lineage_chain(
    row_id: str, services: Services, across_replays: bool = False
) -> ChainResponse:
    """Get all that led to a row and all that came of it."""
    chain = await services.lineage_repository.chain(row_id, across_replays=across_replays)
    return ChainResponse(
        id=chain.entry.id,
        ancestors=[LineageRow.of(entry) for entry in chain.ancestors],
        entry=LineageRow.of(chain.entry),
        descendants=[DescendantRow.at(found.entry, found.depth) for found in chain.descendants],
        truncated=chain.truncated,
    )


@router.get("/{row_id}/children", operation_id="get_lineage_children")
async def get_lineage_children(
    row_id: str,
    services: Services,
    limit: Limit = 1000,
    offset: Offset = 0,
    cursor: Cursor = None,
) -> ChildrenResponse:
    """Get the rows whose parent this one is."""
    found = await services.lineage_repository.children(
        row_id, limit=limit, offset=offset, cursor=cursor
    )
    return ChildrenResponse(id=row_id, **LineagePage.of(found).model_dump())


async def _execution(services: Container, id_or_tag: str | None) -> str | None:
    """Return the id for an id or tag. Raises `ExecutionNotFoundError` and `ExecutionDeletedError`: neither a
    mistyped id nor a deleted one must look like an execution in which nothing failed."""
    if id_or_tag is None:
        return None
    return (await services.executions.stored(id_or_tag)).execution_id


def _seconds(time: datetime | None) -> float | None:
    """Return Unix seconds; a time without a zone is taken as UTC."""
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
