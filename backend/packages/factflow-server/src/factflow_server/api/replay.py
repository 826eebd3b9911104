"""Replays, and what they came to: `/api/v1/executions/{id}/replay` and `/api/v1/replay` are one service;
trees of executions, and comparisons of two."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from factflow_execution.models import PipelineExecution
from factflow_replay.replay.execution_diff import ExecutionDiffs
from factflow_replay.replay.execution_tree import ExecutionTrees
from factflow_replay.replay.models import ReplayResult
from factflow_server.api.dependencies import Caller, Services, require_operator
from factflow_server.api.schemas.comparison import DiffResponse, TreeSchema
from factflow_server.api.schemas.replay import (
    ReplayBody,
    ReplayFromBody,
    ReplayPlanResponse,
    ReplayResponse,
)
from factflow_server.api.starting import KeyHeader, idempotency_of
from factflow_server.container import Container

router = APIRouter(tags=["replay"])

Answer = ReplayResponse | ReplayPlanResponse
NOTHING_STARTED: dict[int | str, dict[str, Any]] = {
    200: {"model": Answer, "description": "The plan alone, or what this key has started before."}
}


@router.post(
    "/executions/{execution_id}/replay",
    status_code=201,
    operation_id="replay_execution",
    responses=NOTHING_STARTED,
)
async def replay_execution(
    *,
    execution_id: str,
    body: ReplayBody,
    services: Services,
    caller: Caller,
    response: Response,
    idempotency_key: KeyHeader = None,
) -> Answer:
    """Continue from what a stage of this execution left, in a new execution.

    With `dry_run` nothing is started: 200 and the plan. 200 also when this key has started it before.
    """
    if not body.dry_run:
        require_operator(caller)
    return await _replay(services, execution_id, body, idempotency_key, response)


@router.post("/replay", status_code=201, operation_id="execute_replay", responses=NOTHING_STARTED)
async def execute_replay(
    *,
    body: ReplayFromBody,
    services: Services,
    caller: Caller,
    response: Response,
    idempotency_key: KeyHeader = None,
) -> Answer:
    """The same, naming the source in the body."""
    if not body.dry_run:
        require_operator(caller)
    return await _replay(services, body.from_execution_id, body, idempotency_key, response)


@router.get("/executions/{execution_id}/tree", operation_id="get_execution_tree")
async def get_execution_tree(execution_id: str, services: Services) -> TreeSchema:
    """Get the replays of an execution, of those it was made from, and theirs."""
    return TreeSchema.of_tree(await ExecutionTrees(services.executions).get(execution_id))


@router.get("/executions/{execution_id}/diff/{other_id}", operation_id="diff_executions")
async def diff_executions(
    execution_id: str,
    other_id: str,
    services: Services,
    *,
    stage: Annotated[str | None, Query(min_length=1, max_length=500)] = None,
    content: bool = False,
    limit: Annotated[int, Query(ge=0, le=1000)] = 20,
) -> DiffResponse:
    """Compare two executions message by message, paired by origin.

    `content` adds unified diffs of text; `limit` is how many differing messages are listed.
    """
    diffs = ExecutionDiffs(services.executions, services.storage)
    return DiffResponse.of(
        await diffs.compare(execution_id, other_id, stage=stage, content=content, limit=limit)
    )


async def _replay(
    services: Container, source: str, body: ReplayBody, header: str | None, response: Response
) -> Answer:
    idempotency = idempotency_of(header, body, body.idempotency_key, from_execution_id=source)
    request = body.request(source, idempotency)
    if body.dry_run:
        response.status_code = 200
        return ReplayPlanResponse.of_plan(await services.replay.plan(request))
    if idempotency is None:
        return ReplayResponse.of_result(await services.replay.replay(request))
    results: list[ReplayResult] = []

    async def begin() -> PipelineExecution:
        results.append(await services.replay.replay(request))
        return results[0].execution

    execution, started = await services.executions.starts.once(idempotency, begin)
    if started:
        return ReplayResponse.of_result(results[0])
    response.status_code = 200
    return ReplayResponse.of_repeat(execution)
