"""Audits of lineage on the wire."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from factflow_execution.audit_report import GAP_KINDS, AuditReport, AuditStep, GapKind
from factflow_server.api.schemas.deletions import DeletionSchema


class RepairBody(BaseModel):
    """Whether the comparison after a repair reads every artefact, and how many gaps of a kind it names."""

    model_config = ConfigDict(extra="forbid")

    deep: bool = False
    limit: int = Field(default=20, ge=0, le=1000)


class GapSchema(BaseModel):
    """One thing that is not as it should be."""

    model_config = ConfigDict(from_attributes=True)

    kind: GapKind
    key: str
    row_id: str | None
    detail: str


class AuditProgressSchema(BaseModel):
    """How far an audit is: `records` of about `rows` compared, `gaps` found so far. A repair compares, makes
    rows again, and compares once more."""

    step: AuditStep
    rows: int
    records: int
    artefacts: int
    gaps: int

    @classmethod
    def of(cls, report: AuditReport) -> AuditProgressSchema:
        """Return a report that still grows as it is told."""
        return cls(
            step=report.step,
            rows=report.rows,
            records=report.records,
            artefacts=report.artefacts,
            gaps=report.counts.total(),
        )


class AuditResponse(BaseModel):
    """How lineage and storage disagree about an execution: all gaps counted by kind, the first ones named.

    `rows_rebuilt` and `litter_deleted` are of a repair; the gaps are those left after it. What a `deletion`
    took on purpose is no gap: `artefacts_deleted` counts it among the `artefacts` that records name.
    """

    execution_id: str
    clean: bool
    deep: bool
    records: int
    artefacts: int
    artefacts_deleted: int
    deletion: DeletionSchema | None
    counts: dict[GapKind, int]
    gaps: list[GapSchema]
    rows_rebuilt: int
    litter_deleted: int
    notes: list[str]

    @classmethod
    def of(cls, report: AuditReport) -> AuditResponse:
        """Return a report as it goes on the wire."""
        return cls(
            execution_id=report.execution_id,
            clean=report.clean,
            deep=report.deep,
            records=report.records,
            artefacts=report.artefacts,
            artefacts_deleted=report.artefacts_deleted,
            deletion=None if report.deletion is None else DeletionSchema.of(report.deletion),
            counts={kind: report.counts[kind] for kind in GAP_KINDS},
            gaps=[GapSchema.model_validate(gap) for gap in report.gaps],
            rows_rebuilt=report.rows_rebuilt,
            litter_deleted=report.litter_deleted,
            notes=report.notes,
        )
