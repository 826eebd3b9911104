"""Failures as causes: one for each stage and class of error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from factflow_execution.why.causes import Cause, CauseCode
from factflow_execution.why.words import counted, error
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.unsettled import FailureGroup

STORAGE_ERRORS: Mapping[str, CauseCode] = {
    "ObjectNotFoundError": "artefact_missing",
    "ObjectDamagedError": "object_damaged",
    "RecordDamagedError": "object_damaged",
}
"""Classes of errors that say something is wrong with what is stored, and nothing with the adapter."""


def failure_code(error_type: str) -> CauseCode:
    """Return the code for a failure of this class."""
    return STORAGE_ERRORS.get(error_type, "failed")


def group_causes(groups: Sequence[FailureGroup], execution_id: str) -> tuple[Cause, ...]:
    """Return a cause for each group, in the order given; each shows the words of its last failure."""
    return tuple(_group_cause(group, execution_id) for group in groups)


def _group_cause(group: FailureGroup, execution_id: str) -> Cause:
    row = group.latest
    words = error(group.error_type or "no error noted", row.error.message if row.error else "")
    tries = f" after {counted(row.attempts, 'attempt')}" if row.attempts > 1 else ""
    return Cause(
        code=failure_code(group.error_type),
        sentence=f"{counted(group.count, 'message')} failed at {group.route_id}/{group.stage}{tries},"
        f" last with {words}",
        next=f"factflow lineage get {row.id}",
        since=row.completed_at,
        execution_id=execution_id,
        route=group.route_id,
        stage=group.stage,
        message_id=row.message_id if group.count == 1 else None,
        count=group.count,
    )


def failed_message(row: PipelineLineageEntry, attempts: int) -> Cause:
    """Return the cause of a message that failed for good, at a stage that gives it `attempts`."""
    kind = row.error.type if row.error else "no error noted"
    words = error(kind, row.error.message if row.error else "")
    code = failure_code(kind)
    of = f" of {attempts}" if attempts > 1 else ""
    return Cause(
        code=code,
        sentence=f"it failed at {row.route_id}/{row.stage} after {counted(row.attempts, 'attempt')}{of}"
        f" with {words}",
        next=f"factflow execution replay {row.execution_id} --only failed --message {row.message_id}",
        since=row.completed_at,
        execution_id=row.execution_id,
        route=row.route_id,
        stage=row.stage,
        message_id=row.message_id,
    )
