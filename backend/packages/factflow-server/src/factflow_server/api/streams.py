"""Streams of an execution: `/api/v1/executions/{id}/events` and `…/storage-stream`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from factflow_server import server_sent
from factflow_server.api.dependencies import Services

router = APIRouter(prefix="/executions", tags=["executions"])

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="The stream goes on behind the event with this id; 0 is its beginning.",
    ),
]
Timeout = Annotated[
    float | None,
    Query(ge=1, le=3600, description="Seconds after which the stream ends, if not before."),
]
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events as they happen, until the end.",
        "content": {"text/event-stream": {"schema": server_sent.EVENT}},
    },
    204: {"description": "`Last-Event-ID` is that of the end: there is nothing more to tell."},
}


@router.get(
    "/{execution_id}/events",
    operation_id="stream_execution_events",
    response_class=server_sent.EventStreamResponse,
    responses=_RESPONSES,
)
async def stream_execution_events(
    execution_id: str,
    services: Services,
    last_event_id: LastEventId = None,
    timeout: Timeout = None,
) -> Response:
    """Stream what happens to an execution, from its start to its end, as server-sent events.

    `started`, `interrupted`, `resumed`, `cancel_requested`, `route_paused`, `route_resumed` and `end` have
    ids; `progress` between them has none.
    """
    pages = await services.event_streams.open(execution_id, last_event_id or None)
    return server_sent.answer(pages, timeout)


@router.get(
    "/{execution_id}/storage-stream",
    operation_id="stream_execution_storage",
    response_class=server_sent.EventStreamResponse,
    responses=_RESPONSES,
)
async def stream_execution_storage(  # noqa: PLR0917 - FastAPI passes them by name
    execution_id: str,
    services: Services,
    last_event_id: LastEventId = None,
    route: Annotated[str | None, Query(description="Outcomes of this route only.")] = None,
    new_only: Annotated[bool, Query(description="Leave out what is there already.")] = False,
    timeout: Timeout = None,
) -> Response:
    """Stream every outcome that is committed, once, and the end of the execution.

    Events are named by their outcome: `stored`, `fanned_out`, `filtered`, `failed`, `passed`; then `end`.
    """
    pages = await services.storage_streams.open(
        execution_id, last_event_id or None, route_id=route, new_only=new_only
    )
    return server_sent.answer(pages, timeout)
