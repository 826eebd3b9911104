"""Getting rid of executions: `DELETE /api/v1/executions/{id}`, and many at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from factflow_execution.execution_deleter import DeletionRequest
from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.deletions import (
    ChosenSchema,
    DeleteBody,
    DeleteResponse,
    DeletionProgressSchema,
)

router = APIRouter(prefix="/executions", tags=["executions"])

LONGEST_WAIT = 60


@router.post(
    "/delete",
    status_code=202,
    operation_id="delete_executions",
    responses={200: {"model": DeleteResponse, "description": "What a dry run found."}},
)
async def delete_executions(
    body: DeleteBody, services: Services, response: Response
) -> DeleteResponse:
    """Delete what executions stored, behind the work: 202, and each with its deletion or why it stays.

    With `dry_run` nothing is deleted: 200 and what would be.
    """
    request = DeletionRequest(
        execution_ids=tuple(body.execution_ids),
        older_than=body.older_than_seconds,
        statuses=tuple(body.statuses),
        kind="artefacts" if body.artefacts_only else "all",
        limit=body.limit,
    )
    choices = await services.deleter.request(request, dry_run=body.dry_run)
    if body.dry_run:
        response.status_code = 200
    refused = sum(choice.refused is not None for choice in choices)
    return DeleteResponse(
        dry_run=body.dry_run,
        accepted=len(choices) - refused,
        refused=refused,
        more=sum(not choice.named for choice in choices) == body.limit,
        executions=[ChosenSchema.of(choice) for choice in choices],
    )


@router.delete("/{execution_id}", status_code=202, operation_id="delete_execution")
async def delete_execution(
    execution_id: str, services: Services, *, artefacts_only: bool = False
) -> DeletionProgressSchema:
    """Delete what an execution stored, behind the work; its row stays, and says so.

    Refused with `execution_state` while it has not ended, with `execution_held` while replays need it.
    Asked again, it tells how far that is.
    """
    request = DeletionRequest(
        execution_ids=(execution_id,), kind="artefacts" if artefacts_only else "all"
    )
    (choice,) = await services.deleter.request(request)
    if choice.refused is not None:
        raise choice.refused
    found = await services.deleter.progress(choice.execution.execution_id)
    return DeletionProgressSchema.of_progress(found)


@router.get("/{execution_id}/deletion", operation_id="get_deletion")
async def get_deletion(
    execution_id: str,
    services: Services,
    *,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0,
) -> DeletionProgressSchema:
    """Get how far a deletion is, once it is finished or `wait` seconds have passed."""
    return DeletionProgressSchema.of_progress(await services.deleter.progress(execution_id, wait))
