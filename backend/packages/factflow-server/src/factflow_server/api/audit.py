"""Comparing lineage with storage: `/api/v1/executions/{id}/audit`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.audit import AuditResponse, RepairBody

router = APIRouter(prefix="/executions", tags=["executions"])


@router.get("/{execution_id}/audit", operation_id="audit_execution")
async def audit_execution(
    execution_id: str,
    services: Services,
    deep: bool = False,
    limit: Annotated[int, Query(ge=0, le=1000, description="Gaps named of each kind.")] = 20,
) -> AuditResponse:
    """Compare an execution's rows with its records and artefacts. Takes as long as reading all records."""
    execution = await services.executions.get(execution_id)
    return AuditResponse.of(await services.lineage_audit.audit(execution, deep=deep, shown=limit))


@router.post("/{execution_id}/audit/repair", operation_id="repair_execution")
async def repair_execution(
    execution_id: str, services: Services, body: RepairBody | None = None
) -> AuditResponse:
    """Make rows again from records, delete what no record names, and tell what is left."""
    execution = await services.executions.get(execution_id)
    asked = body or RepairBody()
    return AuditResponse.of(
        await services.lineage_audit.repair(execution, deep=asked.deep, shown=asked.limit)
    )
