"""Replays: `/api/v1/executions/{id}/replay` and `/api/v1/replay` are one service."""

from __future__ import annotations

from fastapi import APIRouter, Response

from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.replay import (
    ReplayBody,
    ReplayFromBody,
    ReplayPlanResponse,
    ReplayResponse,
)
from factflow_server.container import Container

router = APIRouter(tags=["replay"])

Answer = ReplayResponse | ReplayPlanResponse


@router.post("/executions/{execution_id}/replay", status_code=201, operation_id="replay_execution")
async def replay_execution(
    execution_id: str, body: ReplayBody, services: Services, response: Response
) -> Answer:
    """Continue from what a stage of this execution left, in a new execution.

    With `dry_run` nothing is started: 200 and the plan.
    """
    return await _replay(services, execution_id, body, response)


@router.post("/replay", status_code=201, operation_id="execute_replay")
async def execute_replay(body: ReplayFromBody, services: Services, response: Response) -> Answer:
    """The same, naming the source in the body."""
    return await _replay(services, body.from_execution_id, body, response)


async def _replay(services: Container, source: str, body: ReplayBody, response: Response) -> Answer:
    request = body.request(source)
    if body.dry_run:
        response.status_code = 200
        return ReplayPlanResponse.of_plan(await services.replay.plan(request))
    return ReplayResponse.of_result(await services.replay.replay(request))
