"""Why something is where it is: `/api/v1/why`, and the same beside each kind of subject."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.why import WhyResponse

router = APIRouter(tags=["why"])

OfExecution = Annotated[str | None, Query(description="Only in this execution (id or tag).")]


@router.get("/why/{subject}", operation_id="explain")
async def explain(
    subject: str, services: Services, execution_id: OfExecution = None
) -> WhyResponse:
    """Explain an execution (id or tag), a route (name) or a message (id, or a row's), in this order."""
    return WhyResponse.of(await services.why.resolve(subject, execution_id))


@router.get("/executions/{execution_id}/why", operation_id="explain_execution")
async def explain_execution(execution_id: str, services: Services) -> WhyResponse:
    """Explain why an execution is where it is."""
    return WhyResponse.of(await services.why.execution(execution_id))


@router.get("/pipelines/{route_id}/why", operation_id="explain_route")
async def explain_route(
    route_id: str, services: Services, execution_id: OfExecution = None
) -> WhyResponse:
    """Explain why a route's messages do not move, in one execution or in all that run it."""
    return WhyResponse.of(await services.why.route(route_id, execution_id))


@router.get("/lineage/{row_id}/why", operation_id="explain_message")
async def explain_message(row_id: str, services: Services) -> WhyResponse:
    """Explain why a message is where it is, by its id or one of its rows'."""
    return WhyResponse.of(await services.why.message(row_id))
