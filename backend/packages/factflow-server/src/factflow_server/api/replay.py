"""Replays: `/api/v1/executions/{id}/replay` and `/api/v1/replay` are one service."""

from __future__ import annotations

from fastapi import APIRouter

from factflow_replay.replay.models import ReplayRequest
from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.replay import ReplayBody, ReplayFromBody, ReplayResponse
from factflow_server.container import Container

router = APIRouter(tags=["replay"])


@router.post("/executions/{execution_id}/replay", status_code=201, operation_id="replay_execution")
async def replay_execution(
    execution_id: str, body: ReplayBody, services: Services
) -> ReplayResponse:
    """Continue from what a stage of this execution left, in a new execution."""
    return await _replay(services, execution_id, body)


@router.post("/replay", status_code=201, operation_id="execute_replay")
async def execute_replay(body: ReplayFromBody, services: Services) -> ReplayResponse:
    """The same, naming the source in the body."""
    return await _replay(services, body.from_execution_id, body)


async def _replay(services: Container, source: str, body: ReplayBody) -> ReplayResponse:
    result = await services.replay.replay(
        ReplayRequest(
            from_execution_id=source,
            from_stage=body.from_stage,
            to_route=body.to_route,
            tag=body.tag,
            metadata=body.metadata or {},
            loaded_code=body.loaded_code,
        )
    )
    return ReplayResponse.of_result(result)
