"""Comparing lineage with storage: `/api/v1/executions/{id}/audit`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from factflow_execution.audit_report import quiet
from factflow_server import server_sent
from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.audit import AuditResponse, RepairBody
from factflow_server.audit_stream import Audit, audit_events

router = APIRouter(prefix="/executions", tags=["executions"])

STREAM = "text/event-stream"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What was found; as a stream for who accepts one: `progress` once a second, then "
        "`report`, or `error` with the answer and the status it would have had.",
        "content": {STREAM: {"schema": server_sent.EVENT}},
    }
}


@router.get(
    "/{execution_id}/audit",
    operation_id="audit_execution",
    response_model=AuditResponse,
    responses=_RESPONSES,
)
async def audit_execution(
    execution_id: str,
    request: Request,
    services: Services,
    *,
    deep: bool = False,
    limit: Annotated[int, Query(ge=0, le=1000, description="Gaps named of each kind.")] = 20,
) -> AuditResponse | Response:
    """Compare an execution's rows with its records and artefacts. Takes as long as reading all records."""
    execution = await services.executions.stored(execution_id)
    audit = partial(services.lineage_audit.audit, execution, deep=deep, shown=limit)
    return await _answer(request, lambda tell: audit(tell=tell))


@router.post(
    "/{execution_id}/audit/repair",
    operation_id="repair_execution",
    response_model=AuditResponse,
    responses=_RESPONSES,
)
async def repair_execution(
    execution_id: str, request: Request, services: Services, body: RepairBody | None = None
) -> AuditResponse | Response:
    """Make rows again from records, delete what no record names, and tell what is left."""
    execution = await services.executions.stored(execution_id)
    asked = body or RepairBody()
    repair = partial(services.lineage_audit.repair, execution, deep=asked.deep, shown=asked.limit)
    return await _answer(request, lambda tell: repair(tell=tell))


async def _answer(request: Request, audit: Audit) -> AuditResponse | Response:
    if STREAM in request.headers.get("accept", ""):
        return server_sent.answer(audit_events(audit, request), None)
    return AuditResponse.of(await audit(quiet))
