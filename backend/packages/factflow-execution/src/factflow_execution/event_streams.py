"""What the two streams of an execution have in common: pages of events, and when an execution is over."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from factflow_execution.execution_events import END, ending
from factflow_execution.models import PipelineExecution
from factflow_foundation.clock import isoformat

HEARTBEAT_SECONDS = 15.0
"""How long a stream is silent at most; proxies cut a connection after 30 or 60 seconds of silence."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a stream. `id` is what a client goes on behind; an event without one is told once, to
    whoever listens."""

    name: str
    data: dict[str, Any]
    id: str | None = None


Pages = AsyncGenerator[list[StreamEvent], None]
"""Events as they come, some at a time; an empty page after each `HEARTBEAT_SECONDS` without any."""


def is_over(execution: PipelineExecution, *, awaits_recovery: bool) -> bool:
    """Tell whether an execution has ended as far as this server can say: one that was interrupted is
    over when no recovery is to come. Whether one is has to be asked before its row is read: a row of
    before the recovery, beside an answer of after it, would look like an end."""
    return execution.ended and not (execution.status == "interrupted" and awaits_recovery)


def end_of(execution: PipelineExecution, **more: Any) -> StreamEvent:
    """Return the last event of a stream, made from the execution's row."""
    at = execution.completed_at or execution.started_at
    row = {
        name: getattr(execution, name)
        for name in ("message_count", "failed_count", "warning", "error_info")
    }
    data = {"at": isoformat(at), "execution_id": execution.execution_id}
    return StreamEvent(END, {**data, **ending(execution.status, at, row).data, **more})
