"""The stream of an execution's own events, with its routes' progress between them."""

from __future__ import annotations

import time
from dataclasses import asdict

from factflow_execution.event_streams import (
    HEARTBEAT_SECONDS,
    Pages,
    StreamEvent,
    end_of,
    is_over,
)
from factflow_execution.execution_events import END, STATUS, Event, ExecutionEvents
from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import PipelineExecution
from factflow_execution.progress import ProgressService
from factflow_foundation.changes import Changes
from factflow_foundation.clock import isoformat

PROGRESS_SECONDS = 1.0
"""How often progress is told at most."""


class ExecutionEventStreamer:
    """Follows executions. Nothing is asked of a database unless something was written."""

    def __init__(
        self,
        executions: ExecutionService,
        events: ExecutionEvents,
        progress: ProgressService,
        changes: Changes,
    ) -> None:
        self._executions = executions
        self._events = events
        self._progress = progress
        self._changes = changes

    async def open(self, execution_id: str, last_id: str | None) -> Pages | None:
        """Return the events behind the one with `last_id`, or all; None when that was the end.

        The stream ends behind `end`, or without it when the server stops. Raises
        `ExecutionNotFoundError`, `EventUnknownError`.
        """
        execution = await self._executions.get(execution_id)
        last = None
        if last_id is not None:
            last = await self._events.place(execution.execution_id, last_id)
        if last is not None and last.kind == END:
            return None
        return self._follow(execution.execution_id, 0 if last is None else last.number)

    async def _follow(self, execution_id: str, number: int) -> Pages:
        due = 0.0  # when progress may be told again
        topics = frozenset({STATUS})
        moved = True
        with self._changes.listen(execution_id) as listener:
            while True:
                page: list[StreamEvent] = []
                if STATUS in topics:
                    awaits = execution_id in self._executions.ends.awaiting_recovery
                    execution = await self._executions.get(execution_id)
                    over = is_over(execution, awaits_recovery=awaits)
                    found = await self._events.after(execution_id, number)
                    page = [_told(event, execution_id) for event in found]
                    number = found[-1].number if found else number
                    # The end may have come behind the row that was read.
                    over = over or bool(found and found[-1].kind == END)
                moved = moved or bool(topics)
                if moved and (over or time.monotonic() >= due):
                    page.insert(_before_end(page), await self._routes(execution))
                    moved, due = False, time.monotonic() + PROGRESS_SECONDS
                if over and not (page and page[-1].name == END):
                    page.append(end_of(execution))
                if page or not topics:
                    yield page
                if over or self._changes.closed:
                    return
                topics = await listener.wait(
                    max(0.0, due - time.monotonic()) if moved else HEARTBEAT_SECONDS
                )

    async def _routes(self, execution: PipelineExecution) -> StreamEvent:
        routes = [asdict(route) for route in await self._progress.routes(execution)]
        return StreamEvent("progress", {"execution_id": execution.execution_id, "routes": routes})


def _told(event: Event, execution_id: str) -> StreamEvent:
    data = {"at": isoformat(event.at), "execution_id": execution_id, **event.data}
    return StreamEvent(event.kind, data, str(event.number))


def _before_end(page: list[StreamEvent]) -> int:
    return len(page) - 1 if page and page[-1].name == END else len(page)
