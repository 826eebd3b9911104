"""Lineage: `/api/v1/lineage`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from factflow_lineage.filters import LineageFilter
from factflow_lineage.listing import LineagePage as FoundRows
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
from factflow_server.api.schemas.paging import Limit, Offset
from factflow_server.container import Container

router = APIRouter(prefix="/lineage", tags=["lineage"])

ManyRows = Annotated[int, Query(ge=1, le=10_000, description="Rows in this page.")]


@router.get("", operation_id="list_lineage")
async def list_lineage(
    *,
    services: Services,
    execution_id: str | None = None,
    route_id: str | None = None,
    adapter: str | None = None,
    stage: str | None = None,
    status: StageStatus | None = None,
    is_root: bool | None = None,
    message_id: str | None = None,
    batch_id: str | None = None,
    url: str | None = None,
    title: str | None = None,
    error_type: str | None = None,
    started_after: datetime | None = None,
    started_before: datetime | None = None,
    sort_order: SortOrder = "asc",
    limit: ManyRows = 100,
    offset: Offset = 0,
) -> LineagePage:
    """List rows, ordered by start. `url` and `title` match a part, whatever the case."""
    found = await services.lineage_repository.list(
        LineageFilter(
            execution_id=await _execution(services, execution_id),
            route_id=route_id,
            adapter=adapter,
            stage=stage,
            status=status,
            is_root=is_root,
            message_id=message_id,
            batch_id=batch_id,
            url=url,
            title=title,
            error_type=error_type,
            started_after=_seconds(started_after),
            started_before=_seconds(started_before),
            sort_order=sort_order,
            limit=limit,
            offset=offset,
        )
    )
    return _page(found)


@router.get("/failures", operation_id="list_failures")
async def list_failures(
    services: Services, execution_id: str | None = None, limit: Limit = 100, offset: Offset = 0
) -> LineagePage:
    """List failed rows, the latest failure first."""
    wanted = await _execution(services, execution_id)
    return _page(await services.lineage_repository.failures(wanted, limit=limit, offset=offset))


@router.get("/stats", operation_id="get_lineage_stats")
async def get_lineage_stats(execution_id: str, services: Services) -> LineageStatsResponse:
    """Get counts and durations of an execution's stages, in the pipeline's order."""
    execution = await services.executions.stored(execution_id)
    stages = await services.progress.stages(execution)
    return LineageStatsResponse(
        execution_id=execution.execution_id,
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
    row_id: str, services: Services, limit: Limit = 1000, offset: Offset = 0
) -> ChildrenResponse:
    """Get the rows whose parent this one is."""
    found = await services.lineage_repository.children(row_id, limit=limit, offset=offset)
    return ChildrenResponse(
        id=row_id, entries=[LineageRow.of(entry) for entry in found.entries], total=found.total
    )


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


def _page(found: FoundRows) -> LineagePage:
    return LineagePage(
        total=found.total,
        limit=found.limit,
        offset=found.offset,
        has_more=found.has_more,
        entries=[LineageRow.of(entry) for entry in found.entries],
    )
