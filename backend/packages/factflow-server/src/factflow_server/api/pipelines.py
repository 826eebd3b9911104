"""Routes across executions: `/api/v1/pipelines`."""

from __future__ import annotations

from fastapi import APIRouter

from factflow_server.api.dependencies import Caller, Services
from factflow_server.api.schemas.flow import PauseSchema, flow_fields
from factflow_server.api.schemas.pipelines import (
    PipelinesResponse,
    RouteMetricsResponse,
    RouteMetricsSchema,
    RouteStateBody,
    RouteStateResponse,
    RunningRouteSchema,
)
from factflow_server.api.schemas.times import iso

router = APIRouter(prefix="/pipelines", tags=["pipelines"])


@router.get("", operation_id="list_pipelines")
async def list_pipelines(services: Services, execution_id: str | None = None) -> PipelinesResponse:
    """List the routes that run now, in all executions or in one, and the pauses in force."""
    if execution_id is not None:
        ids = [(await services.executions.get(execution_id)).execution_id]
    else:
        ids = await services.runtimes.running()
    pauses = await services.pauses.all()
    by_route = {pause.route_id: pause for pause in pauses}
    routes = [
        RunningRouteSchema(
            execution_id=id_,
            route_id=route.route_id,
            name=route.name,
            queue=route.queue,
            state=route.state,
            in_progress=route.in_flight,
            queued=route.ready,
            delayed=route.delayed,
            **flow_fields(route, by_route.get(route.route_id)),
        )
        for id_, live in zip(ids, await services.runtimes.of_all(ids), strict=True)
        for route in live.routes
    ]
    return PipelinesResponse(
        total=len(routes), routes=routes, pauses=[PauseSchema.of(pause) for pause in pauses]
    )


@router.get("/{route_id}/metrics", operation_id="get_pipeline_metrics")
async def get_pipeline_metrics(
    route_id: str, services: Services, execution_id: str | None = None
) -> RouteMetricsResponse:
    """Get pace, durations and failures of a route in all running executions, or in one, ended or not.

    When none runs, it is the latest that had the route; `note` says which. A route that only a config has
    comes without any.
    """
    report = await services.route_metrics.of(route_id, execution_id)
    return RouteMetricsResponse(
        route_id=route_id,
        timestamp=iso(services.clock.now()),
        running=report.running,
        note=report.note,
        executions=[RouteMetricsSchema.of(metrics) for metrics in report.executions],
    )


@router.patch("/{route_id}", operation_id="update_pipeline_state")
async def update_pipeline_state(
    route_id: str, body: RouteStateBody, services: Services, caller: Caller
) -> RouteStateResponse:
    """Pause or resume a route by name, in all executions, those to come included."""
    if body.state == "paused":
        pause = await services.pauses.pause(
            route_id,
            reason=body.reason,
            paused_by=body.requested_by or (caller.name if caller else None),
            until=None if body.until is None else body.until.timestamp(),
        )
        done, changed = PauseSchema.of(pause), True
    else:
        done, changed = None, await services.pauses.resume(route_id)
    running = await services.runtimes.running(route_id)
    return RouteStateResponse(
        success=True,
        route_id=route_id,
        status=body.state,
        message=_message(body.state, len(running), changed=changed),
        executions=running,
        pause=done,
    )


def _message(state: str, executions: int, *, changed: bool) -> str:
    if not changed:
        return "it was not paused"
    where = f"in {executions} running execution{'' if executions == 1 else 's'}"
    if state == "running":
        return f"takes messages again {where}" if executions else "no execution runs it now"
    if executions:
        return f"takes no more messages {where}; those in hand go on to their end"
    return "no execution runs it now; those to come will wait at it"
