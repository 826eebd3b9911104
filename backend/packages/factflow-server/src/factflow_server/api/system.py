"""The server itself: `/api/v1/system`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.paging import Limit, Offset
from factflow_server.api.schemas.system import ComponentSchema, HealthResponse, StorageResponse
from factflow_server.health import overall

router = APIRouter(prefix="/system", tags=["system"])


@router.get("/health", operation_id="get_health")
async def get_health(services: Services) -> HealthResponse:
    """Get how the server's parts are; 200 whenever it answers at all."""
    components = await services.health.check()
    return HealthResponse(
        status=overall(components),
        components=[ComponentSchema.model_validate(component) for component in components],
        version=services.version,
        uptime_seconds=round(max(0.0, services.clock.now() - services.started_at), 3),
        data_dir=str(services.data_dir.root),
    )


@router.get("/storage", operation_id="get_storage_usage")
async def get_storage_usage(
    *,
    services: Services,
    limit: Limit = 20,
    offset: Offset = 0,
    refresh: bool = False,
    wait: Annotated[float, Query(ge=0, le=60)] = 0.5,
) -> StorageResponse:
    """Get what takes the space, the largest executions first.

    What was not counted yet, or may have grown, is counted behind the work; the answer comes when that is
    done or `wait` seconds have passed. `refresh` counts everything again.
    """
    report = await services.storage_reports.report(limit, offset, anew=refresh, wait=wait)
    return StorageResponse.of(report, limit, offset)
