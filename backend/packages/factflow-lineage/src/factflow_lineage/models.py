"""A lineage row: what one stage did for one message."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

from factflow_foundation.clock import isoformat
from factflow_foundation.records import ErrorInfo, OutcomeRecord

StageStatus = Literal["pending", "processing", "completed", "failed", "cancelled"]

STATUSES: tuple[StageStatus, ...] = get_args(StageStatus)
COMMITTED: tuple[StageStatus, ...] = ("completed", "failed")
"""Statuses that come from an outcome record; such a row never changes again."""

_PROGRESS: dict[StageStatus, int] = {"pending": 0, "processing": 1, "cancelled": 2}


class PipelineLineageEntry(msgspec.Struct, kw_only=True):
    """One row. Ids as in `factflow_foundation.ids`; hashes SHA-256 in hex; times Unix seconds.

    `status` of an entry that was read is the effective one: "processing" as long as a child of a
    completed row is unfinished; `outcome` tells how the stage itself ended. `expected_children`,
    `continues` are told to the writer only and not read back.
    """

    id: str
    execution_id: str
    route_id: str
    stage: str
    adapter: str
    adapter_version: str = ""
    message_id: str
    origin_id: str
    parent_id: str | None = None
    replayed_from: str | None = None
    root_id: str | None = None
    status: StageStatus
    outcome: str | None = None
    attempts: int = 1
    generation: int = 1
    input_hash: str | None = None
    output_hash: str | None = None
    input_key: str | None = None
    output_key: str | None = None
    output_size: int | None = None
    content_type: str | None = None
    output_count: int = 0
    pending_children: int = 0
    error: ErrorInfo | None = None
    started_at: float = 0.0
    completed_at: float | None = None
    duration_ms: float | None = None
    batch_id: str | None = None
    metadata: dict[str, Any] = {}
    expected_children: int = 0
    """Rows that will name this one as their parent; counts once the row is committed."""
    continues: bool = False
    """The same message goes on to a further stage of its route: it is not settled by this row."""

    @property
    def committed(self) -> bool:
        """Tell whether an outcome record stands behind the row."""
        return self.status in COMMITTED

    def to_row(self) -> dict[str, Any]:
        """Return the row as JSON-able data with ISO 8601 times, as the HTTP API shows it."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        for unread in ("expected_children", "continues", "generation"):
            del fields[unread]
        fields["error"] = None if self.error is None else error_fields(self.error)
        fields["started_at"] = isoformat(self.started_at)
        fields["completed_at"] = None if self.completed_at is None else isoformat(self.completed_at)
        return fields


def error_fields(error: ErrorInfo) -> dict[str, str]:
    """Return an error with all its fields present."""
    return {"type": error.type, "message": error.message, "traceback": error.traceback}


def entry_from_record(
    record: OutcomeRecord, *, expected_children: int | None = None
) -> PipelineLineageEntry:
    """Return the row of a committed record.

    `expected_children` is how many rows will name this one as parent: by default the children the
    record announces. Pass 1 for a `stored` outcome that a further stage of the chain follows, and 0 for
    children that no route consumes.
    """
    expected = record.children_count if expected_children is None else expected_children
    stored = record.outcome == "stored"
    metadata = {**record.metadata, "input_key": record.input_key}
    if record.passed:
        metadata["passed"] = list(record.passed)
    return PipelineLineageEntry(
        id=record.lineage_id,
        execution_id=record.execution_id,
        route_id=record.route,
        stage=record.stage,
        adapter=record.adapter,
        adapter_version=record.adapter_version,
        message_id=record.message_id,
        origin_id=record.origin_id,
        parent_id=record.parent_id,
        replayed_from=record.replayed_from,
        root_id=record.root_id,
        status="failed" if record.outcome == "failed" else "completed",
        outcome=record.outcome,
        attempts=record.attempts,
        generation=record.generation,
        input_hash=record.input_hash,
        output_hash=record.output_hash,
        input_key=record.input_key,
        output_key=record.output_key,
        output_size=record.size if stored else None,
        content_type=record.content_type,
        output_count=record.children_count or int(stored),
        error=record.error,
        started_at=record.started_at,
        completed_at=record.completed_at,
        duration_ms=max(0.0, (record.completed_at - record.started_at) * 1000),
        batch_id=record.batch_id,
        metadata=metadata,
        expected_children=expected,
        continues=stored and expected > 0 and record.children_count == 0,
    )


Rank = tuple[int, int, int, float]


def rank(status: StageStatus, generation: int, attempts: int, started_at: float) -> Rank | None:
    """Return what an uncommitted row weighs against another of its id; None when committed."""
    if status in COMMITTED:
        return None
    return generation, attempts, _PROGRESS[status], started_at


def replaces(new: Rank | None, standing: Rank | None) -> bool:
    """Tell whether a row replaces the one that stands.

    A committed row replaces every uncommitted one and is itself final: only the same record could come
    again. Among the others the higher generation, then attempt, wins; then the later status and start.
    Taking the greater of two makes the outcome independent of the order of arrival.
    """
    if standing is None:
        return False
    return new is None or new > standing
