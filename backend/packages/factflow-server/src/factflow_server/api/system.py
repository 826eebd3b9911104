"""The server itself: `/api/v1/system`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query

from factflow_server.api.dependencies import Caller, Services
from factflow_server.api.schemas.paging import Limit, Offset
from factflow_server.api.schemas.system import (
    ComponentSchema,
    DiagnosticBody,
    DiagnosticResponse,
    HealthResponse,
    StorageResponse,
    SystemMetricsResponse,
    WorkerSchema,
    WorkersResponse,
)
from factflow_server.api.schemas.times import iso
from factflow_server.component import overall
from factflow_server.worker_report import worker_report

router = APIRouter(prefix="/system", tags=["system"])


@router.get("/health", operation_id="get_health")
async def get_health(services: Services, caller: Caller, debug: bool = False) -> HealthResponse:
    """Get how the server's parts are; 200 whenever it answers at all."""
    components = await services.health.check()
    is_operator = caller is None or caller.may_change
    if not is_operator:
        root = str(services.data_dir.root)
        components = [
            replace(part, message=part.message.replace(root, "DATA_DIR")) for part in components
        ]
    return HealthResponse(
        status=overall(components),
        components=[
            ComponentSchema.of(component, debug=debug and is_operator) for component in components
        ],
        timestamp=iso(services.clock.now()),
        version=services.version,
        uptime_seconds=services.uptime_seconds,
        data_dir=str(services.data_dir.root) if is_operator else None,
    )


@router.get("/metrics", operation_id="get_system_metrics")
async def get_system_metrics(services: Services) -> SystemMetricsResponse:
    """Get a snapshot of the orchestrator in numbers."""
    return SystemMetricsResponse.of(
        await services.metrics.snapshot(), services.clock.now(), services.uptime_seconds
    )


@router.get("/workers", operation_id="list_workers")
async def list_workers(services: Services) -> WorkersResponse:
    """Get the workers that are there, what each works on, and what keeps it."""
    if services.workers is None:
        return WorkersResponse(shared=False, workers=[])
    found = [WorkerSchema.of(one) for one in await worker_report(services.workers)]
    return WorkersResponse(shared=True, workers=found)


@router.post("/mq-diagnostic", operation_id="run_mq_diagnostic")
async def run_mq_diagnostic(
    services: Services, body: DiagnosticBody | None = None
) -> DiagnosticResponse:
    """Send a message through each queue in a scope of its own, and tell how queues stand."""
    timeout = (body or DiagnosticBody()).timeout_seconds
    return DiagnosticResponse.model_validate(await services.queue_diagnostic.run(timeout))


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
