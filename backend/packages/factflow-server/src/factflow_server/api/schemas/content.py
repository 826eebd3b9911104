"""Archives that are prepared, on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from factflow_server.archive_jobs import ArchiveJob, ArchiveStatus


class PrepareBody(BaseModel):
    """What goes into an archive: what an execution (id or tag) stored, or of it some routes, some stages,
    what lies at a `path` below these, or what ends in an `extension` (several with commas: `.md,.json`).

    Records come along, unless `include_metadata` is false or an `extension` is given.
    """

    model_config = ConfigDict(extra="forbid")

    domain: Literal["storage"] = "storage"
    execution_id: str = Field(min_length=1)
    stage: str | None = Field(default=None, min_length=1)
    path: str | None = Field(default=None, max_length=4096)
    extension: str | None = Field(default=None, min_length=1, max_length=1000)
    routes: list[str] = Field(default=[], max_length=1000)
    stages: list[str] = Field(default=[], max_length=1000)
    include_metadata: bool = True

    @property
    def stage_names(self) -> list[str]:
        """The stages asked for, whichever way."""
        return [*([] if self.stage is None else [self.stage]), *self.stages]

    @property
    def endings(self) -> tuple[str, ...]:
        """The extensions asked for."""
        parts = (part.strip() for part in (self.extension or "").split(","))
        return tuple(part for part in parts if part)


class PrepareResponse(BaseModel):
    """An archive that is being prepared: `total` objects and records are to be in it."""

    job_id: str
    total: int
    filename: str

    @classmethod
    def of(cls, job: ArchiveJob) -> PrepareResponse:
        """Return a job as its beginning is told."""
        return cls(job_id=job.job_id, total=job.total, filename=job.filename)


class ArchiveStatusResponse(PrepareResponse):
    """How far an archive is. `file_size` is in bytes, so far."""

    status: ArchiveStatus
    processed: int
    file_size: int
    error: str | None

    @classmethod
    def of(cls, job: ArchiveJob) -> ArchiveStatusResponse:
        """Return a job as its status is told."""
        return cls(
            job_id=job.job_id,
            status=job.status,
            total=job.total,
            processed=job.processed,
            filename=job.filename,
            file_size=job.file_size,
            error=job.error,
        )
