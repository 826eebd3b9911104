"""The seam for traces: what a tracer is told of a stage call, once it has ended.

Nothing about traces travels with a message. The ids of a trace and of its spans are made from ids that
are there anyway, so every process and every queue hop comes to the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from factflow_engine.outcome_draft import OutcomeDraft


class StageCall(NamedTuple):
    """One attempt of a stage at a message. Times are Unix seconds; `outcome` is `retried` when another
    attempt follows, and `error_type` the class of what was raised."""

    execution_id: str
    route_id: str
    stage: str
    adapter: str
    message_id: str
    lineage_id: str
    parent_id: str | None
    attempt: int
    outcome: str
    error_type: str | None
    started_at: float
    ended_at: float


class StageTracer(Protocol):
    """Takes note of stage calls. Belongs to the event loop, and neither waits nor raises."""

    def stage_ended(self, call: StageCall) -> None:
        """Take note of one call."""
        ...


def call_of(draft: OutcomeDraft, ended_at: float) -> StageCall:
    """Return what a draft tells of its stage's call."""
    work = draft.work
    return StageCall(
        execution_id=draft.context.execution_id,
        route_id=draft.context.route_id,
        stage=draft.stage.name,
        adapter=draft.stage.adapter_type,
        message_id=work.envelope.message_id,
        lineage_id=draft.lineage_id,
        parent_id=work.parent_id,
        attempt=work.attempt,
        outcome=draft.outcome if draft.retry_in is None else "retried",
        error_type=None if draft.error is None else draft.error.type,
        started_at=draft.started_at,
        ended_at=max(draft.started_at, ended_at),
    )
