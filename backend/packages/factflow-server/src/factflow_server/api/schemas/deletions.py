"""Deletions on the wire."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from factflow_execution.execution_deleter import Choice, Progress
from factflow_execution.execution_deletions import Deletion, DeletionKind
from factflow_execution.models import ExecutionStatus
from factflow_server.api.schemas.times import iso


class DeleteBody(BaseModel):
    """What is to be deleted: executions by id or tag, and ended ones that match. Of those that match, at most
    `limit`, the oldest first. With `artefacts_only` their records and lineage stay."""

    model_config = ConfigDict(extra="forbid")

    execution_ids: list[str] = Field(default=[], max_length=1000)
    older_than_seconds: float | None = Field(default=None, ge=0, le=1e10)
    statuses: list[Literal["completed", "failed", "cancelled"]] = Field(default=[], max_length=3)
    artefacts_only: bool = False
    dry_run: bool = False
    limit: int = Field(default=1000, ge=1, le=1000)

    @model_validator(mode="after")
    def _asks_for_some(self) -> Self:
        if not self.execution_ids and self.older_than_seconds is None and not self.statuses:
            raise ValueError("name executions, an age, or statuses")
        return self


class DeletionSchema(BaseModel):
    """What was or is deleted of an execution: its `artefacts`, or `all` but this. `objects` and `bytes` are
    what went, or goes."""

    kind: DeletionKind
    state: Literal["deleting", "deleted"]
    requested_at: str
    deleted_at: str | None
    tag: str | None
    """The tag it had, which is free since."""
    objects: int
    bytes: int
    lineage_rows: int

    @classmethod
    def of(cls, deletion: Deletion) -> DeletionSchema:
        """Return a deletion as it goes on the wire."""
        return cls(
            kind=deletion.kind,
            state="deleting" if deletion.deleted_at is None else "deleted",
            requested_at=iso(deletion.requested_at) or "",
            deleted_at=iso(deletion.deleted_at),
            tag=deletion.tag,
            objects=deletion.objects,
            bytes=deletion.bytes,
            lineage_rows=deletion.lineage_rows,
        )


class DeletionProgressSchema(DeletionSchema):
    """How far a deletion is: `removed` files or entries so far, and what it waits for."""

    execution_id: str
    step: str
    removed: int
    trouble: str | None

    @classmethod
    def of_progress(cls, progress: Progress) -> DeletionProgressSchema:
        """Return a deletion and how far it is."""
        return cls(
            **DeletionSchema.of(progress.deletion).model_dump(),
            execution_id=progress.deletion.execution_id,
            step=progress.step,
            removed=progress.removed,
            trouble=progress.trouble,
        )


class RefusalSchema(BaseModel):
    """Why an execution is not deleted, and which others need it."""

    code: str
    message: str
    hint: str
    held_by: list[str]


class ChosenSchema(BaseModel):
    """An execution that was named or matches; `deletion` is null in a dry run of what would begin."""

    execution_id: str
    tag: str | None
    config_name: str
    status: ExecutionStatus
    started_at: str
    completed_at: str | None
    named: bool
    deletion: DeletionSchema | None
    refused: RefusalSchema | None

    @classmethod
    def of(cls, choice: Choice) -> ChosenSchema:
        """Return an execution and what becomes of it."""
        row, error = choice.execution, choice.refused
        return cls(
            execution_id=row.execution_id,
            tag=row.tag,
            config_name=row.config_name,
            status=row.status,
            started_at=iso(row.started_at) or "",
            completed_at=iso(row.completed_at),
            named=choice.named,
            deletion=None if choice.deletion is None else DeletionSchema.of(choice.deletion),
            refused=error
            and RefusalSchema(
                code=error.code,
                message=error.message,
                hint=error.hint,
                held_by=getattr(error, "holders", []),
            ),
        )


class DeleteResponse(BaseModel):
    """What a request came to, the newest execution first. `more` tells that `limit` cut it short."""

    dry_run: bool
    accepted: int
    refused: int
    more: bool
    executions: list[ChosenSchema]
