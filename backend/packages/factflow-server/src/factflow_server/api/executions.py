"""Executions: `/api/v1/executions`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse

from factflow_execution import dag_text
from factflow_execution.dag import Dag, dag_of
from factflow_execution.models import ExecutionStatus, PipelineExecution
from factflow_execution.snapshot import snapshot_config
from factflow_lineage.errors import LineageUnavailableError
from factflow_lineage.filters import LineageFilter
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
from factflow_server.api.schemas.flow import flow_fields
from factflow_server.api.schemas.lineage import LineageRow
from factflow_server.api.schemas.monitor import MetricsSchema, MonitorResponse, eta_seconds
from factflow_server.api.schemas.paging import Limit, Offset
from factflow_server.api.schemas.times import duration_ms, iso
from factflow_server.api.starting import KeyHeader, start
from factflow_server.container import Container

router = APIRouter(prefix="/executions", tags=["executions"])

DagFormat = Literal["json", "tree", "mermaid", "dot"]
_DAG_TEXTS = {"tree": dag_text.tree, "mermaid": dag_text.mermaid, "dot": dag_text.dot}
LAST_FAILURES = 5


@router.post(
    "",
    status_code=201,
    operation_id="start_execution",
    responses={200: {"model": ExecutionSchema, "description": "Started before, by this key."}},
)
async def start_execution(
    body: StartBody, services: Services, response: Response, idempotency_key: KeyHeader = None
) -> ExecutionSchema:
    """Start an execution of a config's newest version; 200 when this key has started it before."""
    return await start(services, body, idempotency_key, response)


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
    plan = await services.progress.plan(execution)
    gone = await services.executions.deletions.find([execution.execution_id])
    deletion = gone.get(execution.execution_id)
    return ExecutionDetailSchema(
        **execution_fields(execution, deletion),
        config_snapshot=execution.config_snapshot,
        metadata=execution.metadata,
        trigger_context=execution.trigger_context,
        idempotency_key=execution.idempotency_key,
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
    execution_id: str,
    services: Services,
    body: CancelBody | None = None,
    grace_seconds: Annotated[float | None, Query(ge=0, le=3600)] = None,
) -> CancelResponse:
    """Stop an execution gracefully; answers when it has stopped. `grace_seconds` may stand in the body or
    in the query. One that is cancelled already is no error."""
    grace = (body or CancelBody()).grace_seconds if grace_seconds is None else grace_seconds
    done = await services.executions.cancel(execution_id, grace)
    cancelled = done.current_status == "cancelled"
    message = "cancelled" if cancelled else f"it ended {done.current_status} meanwhile"
    if done.previous_status == "cancelled":
        message = "it was cancelled before"
    return CancelResponse(
        success=cancelled,
        execution_id=done.execution_id,
        previous_status=done.previous_status,
        current_status=done.current_status,
        message=message,
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


@router.get(
    "/{execution_id}/dag",
    operation_id="get_execution_dag",
    response_model=DagResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_execution_dag(
    execution_id: str,
    services: Services,
    form: Annotated[DagFormat, Query(alias="format")] = "json",
) -> DagResponse | PlainTextResponse:
    """Get how the routes of the execution's snapshot hang together; also as text to read or to draw."""
    execution = await services.executions.get(execution_id)
    dag = dag_of(snapshot_config(execution.config_snapshot))
    if form != "json":
        return PlainTextResponse(_DAG_TEXTS[form](dag))
    return _dag(execution.execution_id, dag)


@router.get("/{execution_id}/monitor", operation_id="get_execution_monitor")
async def get_execution_monitor(execution_id: str, services: Services) -> MonitorResponse:
    """Get everything for a live view in one call, cheap enough to be asked for every second."""
    execution = await services.executions.get(execution_id)
    plan = await services.progress.plan(execution)
    shown_plan = None if plan is None else PlanProgressSchema.model_validate(plan)
    routes = await _routes(services, execution)
    metrics = MetricsSchema.of(routes)
    return MonitorResponse(
        at=iso(services.clock.now()),
        execution=ExecutionSchema.of(execution),
        plan=shown_plan,
        eta_seconds=eta_seconds(metrics, shown_plan),
        metrics=metrics,
        routes=routes,
        failures=await _last_failures(services, execution.execution_id),
        dag=_dag(execution.execution_id, dag_of(snapshot_config(execution.config_snapshot))),
    )


async def _last_failures(services: Container, execution_id: str) -> list[LineageRow] | None:
    wanted = LineageFilter(execution_id=execution_id, limit=LAST_FAILURES)
    try:
        page = await services.lineage_repository.failures(wanted)
    except LineageUnavailableError:
        return None
    return [LineageRow.of(entry) for entry in page.entries]


def _dag(execution_id: str, dag: Dag) -> DagResponse:
    return DagResponse(
        execution_id=execution_id,
        init_queue=dag.init_queue,
        nodes=[DagNodeSchema.model_validate(node) for node in dag.nodes],
        edges=[DagEdgeSchema.model_validate(edge) for edge in dag.edges],
    )


async def _routes(services: Container, execution: PipelineExecution) -> list[RouteProgressSchema]:
    routes = [
        RouteProgressSchema.model_validate(route)
        for route in await services.progress.routes(execution)
    ]
    if execution.ended:
        return routes
    pauses = {pause.route_id: pause for pause in await services.pauses.all()}
    live = await services.runtimes.of(execution)
    now = {route.route_id: route for route in live.routes}
    return [
        route.model_copy(update=flow_fields(now.get(route.route_id), pauses.get(route.route_id)))
        for route in routes
    ]
