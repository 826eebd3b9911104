"""Executions: `/api/v1/executions`."""

from __future__ import annotations

from fastapi import APIRouter

from factflow_execution.dag import dag_of
from factflow_execution.models import ExecutionStatus, PipelineExecution
from factflow_execution.snapshot import snapshot_config
from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.executions import (
    CancelBody,
    CancelResponse,
    DagEdgeSchema,
    DagNodeSchema,
    DagResponse,
    ExecutionDetailSchema,
    ExecutionPage,
    ExecutionSchema,
    ExecutionStatsSchema,
    PlanProgressSchema,
    RouteProgressSchema,
    RoutesResponse,
    StartBody,
    StatusBody,
    WaitBody,
    WaitResponse,
    execution_fields,
)
from factflow_server.api.schemas.paging import Limit, Offset
from factflow_server.api.schemas.times import duration_ms
from factflow_server.container import Container

router = APIRouter(prefix="/executions", tags=["executions"])


@router.post("", status_code=201, operation_id="start_execution")
async def start_execution(body: StartBody, services: Services) -> ExecutionSchema:
    """Start an execution of a config's newest version."""
    draft = await services.configs.draft(
        body.config_id,
        init=body.init,
        skip_init=body.skip_init_message,
        tag=body.tag,
        metadata=body.metadata or {},
        loaded_code=body.loaded_code,
    )
    return ExecutionSchema.of(await services.executions.launch(draft))


@router.get("", operation_id="list_executions")
async def list_executions(
    services: Services,
    status: ExecutionStatus | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
    deleted: bool = False,
) -> ExecutionPage:
    """List executions, newest first; with `deleted` those too of which only this is left."""
    page = await services.executions.list(status, limit, offset, deleted=deleted)
    gone = await services.executions.deletions.find(row.execution_id for row in page.rows)
    return ExecutionPage(
        total=page.total,
        limit=limit,
        offset=offset,
        has_more=page.has_more,
        executions=[
            ExecutionSchema.of(execution, gone.get(execution.execution_id))
            for execution in page.rows
        ],
    )


@router.get("/{execution_id}", operation_id="get_execution")
async def get_execution(execution_id: str, services: Services) -> ExecutionDetailSchema:
    """Get an execution by its id or tag, with its snapshot and the state of its routes."""
    execution = await services.executions.get(execution_id)
    plan = services.progress.plan(execution)
    gone = await services.executions.deletions.find([execution.execution_id])
    deletion = gone.get(execution.execution_id)
    return ExecutionDetailSchema(
        **execution_fields(execution, deletion),
        config_snapshot=execution.config_snapshot,
        metadata=execution.metadata,
        error_info=execution.error_info,
        held_by=await services.executions.holds.held_by(execution.execution_id),
        plan=None if plan is None else PlanProgressSchema.model_validate(plan),
        # Without lineage they would say that nothing ever came to them.
        routes=[] if deletion and deletion.kind == "all" else await _routes(services, execution),
    )


@router.patch("/{execution_id}", operation_id="update_execution_status")
async def update_execution_status(
    execution_id: str,
    body: StatusBody,  # noqa: ARG001 - only `cancelled` passes its validation
    services: Services,
) -> CancelResponse:
    """Cancel an execution; the same as `POST …/cancel`."""
    return await cancel_execution(execution_id, services, CancelBody())


@router.post("/{execution_id}/cancel", operation_id="cancel_execution")
async def cancel_execution(
    execution_id: str, services: Services, body: CancelBody | None = None
) -> CancelResponse:
    """Stop an execution gracefully; answers when it has stopped."""
    grace = (body or CancelBody()).grace_seconds
    done = await services.executions.cancel(execution_id, grace)
    cancelled = done.current_status == "cancelled"
    return CancelResponse(
        success=cancelled,
        execution_id=done.execution_id,
        previous_status=done.previous_status,
        current_status=done.current_status,
        message="cancelled" if cancelled else f"it ended {done.current_status} meanwhile",
    )


@router.post("/{execution_id}/wait", operation_id="wait_for_execution")
async def wait_for_execution(
    execution_id: str, services: Services, body: WaitBody | None = None
) -> WaitResponse:
    """Answer when the execution ended, or when the time is up."""
    execution_id = (await services.executions.get(execution_id)).execution_id
    timeout = (body or WaitBody()).timeout
    execution = await services.executions.waiter.wait(execution_id, timeout)
    end = execution.completed_at if execution.ended else services.clock.now()
    message = f"the execution ended {execution.status}"
    return WaitResponse(
        completed=execution.ended,
        execution_id=execution_id,
        status=execution.status,
        duration_ms=duration_ms(execution.started_at, end),
        message=message if execution.ended else f"still running after {timeout:g} s of waiting",
    )


@router.get("/{execution_id}/stats", operation_id="get_execution_stats")
async def get_execution_stats(execution_id: str, services: Services) -> ExecutionStatsSchema:
    """Get counts and durations by stage, in the pipeline's order."""
    execution = await services.executions.stored(execution_id)
    return ExecutionStatsSchema.model_validate(await services.progress.stats(execution))


@router.get("/{execution_id}/routes", operation_id="get_execution_routes")
async def get_execution_routes(execution_id: str, services: Services) -> RoutesResponse:
    """Get the state of every route."""
    execution = await services.executions.get(execution_id)
    return RoutesResponse(
        execution_id=execution.execution_id, routes=await _routes(services, execution)
    )


@router.get("/{execution_id}/dag", operation_id="get_execution_dag")
async def get_execution_dag(execution_id: str, services: Services) -> DagResponse:
    """Get how the routes of the execution's snapshot hang together."""
    execution = await services.executions.get(execution_id)
    dag = dag_of(snapshot_config(execution.config_snapshot))
    return DagResponse(
        execution_id=execution.execution_id,
        init_queue=dag.init_queue,
        nodes=[DagNodeSchema.model_validate(node) for node in dag.nodes],
        edges=[DagEdgeSchema.model_validate(edge) for edge in dag.edges],
    )


async def _routes(services: Container, execution: PipelineExecution) -> list[RouteProgressSchema]:
    routes = await services.progress.routes(execution)
    return [RouteProgressSchema.model_validate(route) for route in routes]
