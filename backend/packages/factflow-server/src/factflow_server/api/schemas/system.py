"""The server's health on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from factflow_execution.models import ExecutionStatus
from factflow_server.api.schemas.deletions import DeletionSchema
from factflow_server.api.schemas.times import iso
from factflow_server.storage_report import ReportedExecution, StorageReport

HealthStatus = Literal["healthy", "degraded", "unhealthy"]


class ComponentSchema(BaseModel):
    """How one part of the server is."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    status: HealthStatus
    message: str


class HealthResponse(BaseModel):
    """The server's health: as bad as its worst component."""

    status: HealthStatus
    components: list[ComponentSchema]
    version: str
    uptime_seconds: float
    data_dir: str


class DatabaseFileSchema(BaseModel):
    """A database file; bytes of the disk."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    disk_bytes: int


class UsageSchema(BaseModel):
    """What an execution takes of the storage, as it was counted then: null before its first count. It could
    be deleted when it has ended and nobody holds it."""

    execution_id: str
    tag: str | None
    config_name: str
    status: ExecutionStatus
    started_at: str
    completed_at: str | None
    objects: int | None
    records: int | None
    bytes: int | None
    disk_bytes: int | None
    counted_at: str | None
    held_by: list[str]
    deletable: bool
    deletion: DeletionSchema | None

    @classmethod
    def of(cls, reported: ReportedExecution) -> UsageSchema:
        """Return an execution of a report."""
        row, usage = reported.counted.execution, reported.counted.usage
        return cls(
            execution_id=row.execution_id,
            tag=row.tag,
            config_name=row.config_name,
            status=row.status,
            started_at=iso(row.started_at) or "",
            completed_at=iso(row.completed_at),
            objects=usage and usage.objects,
            records=usage and usage.records,
            bytes=usage and usage.bytes,
            disk_bytes=usage and usage.disk_bytes,
            counted_at=iso(reported.counted.counted_at),
            held_by=list(reported.held_by),
            deletable=row.status not in {"running", "interrupted"} and not reported.held_by,
            deletion=None if reported.deletion is None else DeletionSchema.of(reported.deletion),
        )


class StorageResponse(BaseModel):
    """What takes the space. `disk_bytes` is the sum over the executions counted so far; `complete` tells that
    these are all, `counting` how many are left. Executions come by size, the largest first."""

    kind: str
    complete: bool
    counting: int
    counting_objects: int
    disk_total: int
    disk_free: int
    disk_bytes: int
    objects: int
    total: int
    limit: int
    offset: int
    has_more: bool
    databases: list[DatabaseFileSchema]
    executions: list[UsageSchema]
    hints: list[str]

    @classmethod
    def of(cls, report: StorageReport, limit: int, offset: int) -> StorageResponse:
        """Return a report as it goes on the wire."""
        return cls(
            kind=report.kind,
            complete=report.complete,
            counting=report.counting,
            counting_objects=report.counting_objects,
            disk_total=report.disk_total,
            disk_free=report.disk_free,
            disk_bytes=report.sums.usage.disk_bytes,
            objects=report.sums.usage.objects,
            total=report.sums.count,
            limit=limit,
            offset=offset,
            has_more=offset + len(report.executions) < report.sums.count,
            databases=[DatabaseFileSchema.model_validate(file) for file in report.databases],
            executions=[UsageSchema.of(one) for one in report.executions],
            hints=list(report.hints),
        )
