"""The stream of what an execution stores: one event for each committed outcome record, in lineage's order."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from factflow_execution.event_streams import (
    HEARTBEAT_SECONDS,
    Pages,
    StreamEvent,
    end_of,
    is_over,
)
from factflow_execution.execution_events import END, STATUS
from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import PipelineExecution
from factflow_execution.transitions import FINAL
from factflow_foundation import logs
from factflow_lineage.errors import LineageUnavailableError
from factflow_lineage.outcome_log import BEGINNING
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.writer import LineageService

GAP_PATIENCE_SECONDS = 30.0
"""How long an execution that ended is waited for to get its missing rows, since the last one came."""
_AT_END = f"-{END}"

_log = logs.logger(__name__)


class StorageEventStreamer:
    """Follows what executions store. Work pays nothing for it: lineage is read, page by page, by those who
    follow, after each of its writes."""

    def __init__(
        self,
        executions: ExecutionService,
        lineage: LineageService,
        rows: PipelineLineageRepository,
    ) -> None:
        self._executions = executions
        self._lineage = lineage
        self._rows = rows
        self._changes = lineage.changes

    async def open(
        self,
        execution_id: str,
        last_id: str | None,
        *,
        route_id: str | None = None,
        new_only: bool = False,
    ) -> Pages | None:
        """Return the outcomes behind the one with `last_id`, or all, or those from now on; of one route if
        wanted. None when `last_id` is that of the end of an execution that has nothing more to tell.

        The stream ends behind `end`, or without it when the server stops. Raises
        `ExecutionNotFoundError`, `EventUnknownError`, `LineageUnavailableError`.
        """
        execution = await self._executions.get(execution_id)
        execution_id = execution.execution_id
        if last_id is None and not new_only:
            return self._follow(execution_id, 0, BEGINNING, route_id)
        place = None if last_id is None else last_id.removesuffix(_AT_END)
        number, name = await self._rows.outcome_place(execution_id, place)
        if place != last_id and _is_final(execution):
            last, _ = await self._rows.outcome_place(execution_id, None)
            if last == number:
                return None
        return self._follow(execution_id, number, name, route_id)

    async def _follow(
        self, execution_id: str, number: int, name: str, route_id: str | None
    ) -> Pages:
        follower = _Follower(self._rows, execution_id, route_id, number)
        topics = frozenset({STATUS})
        with self._changes.listen(execution_id) as listener:
            # Whoever is cut off before the first outcome goes on from here.
            yield [StreamEvent("", {}, name)]
            changed = time.monotonic()
            while True:
                if STATUS in topics:
                    awaits = execution_id in self._executions.ends.awaiting_recovery
                    execution = await self._executions.get(execution_id)
                    over = is_over(execution, awaits_recovery=awaits)
                # What was recorded before the end stands written when the end is told.
                written = not over or await self._lineage.flush(execution_id)
                async for page in follower.catch_up():
                    changed, name = time.monotonic(), page[-1].id or name
                    yield page
                patient = time.monotonic() - changed < GAP_PATIENCE_SECONDS
                complete = written and follower.read_all and not execution.lineage_gap
                if over and (complete or not patient or execution.status == "interrupted"):
                    end = end_of(execution, complete=complete)
                    yield [StreamEvent(END, end.data, name.removesuffix(_AT_END) + _AT_END)]
                    return
                if self._changes.closed:
                    return
                topics = await listener.wait(HEARTBEAT_SECONDS)
                if not topics:
                    yield []


class _Follower:
    """Reads on in the log of outcomes from where it stands."""

    def __init__(
        self, rows: PipelineLineageRepository, execution_id: str, route_id: str | None, number: int
    ) -> None:
        self._rows = rows
        self._execution_id = execution_id
        self._route_id = route_id
        self._number = number
        self.read_all = False

    async def catch_up(self) -> AsyncIterator[list[StreamEvent]]:
        """Yield what has come since; with a database in trouble, as much as it gives."""
        self.read_all = False
        reached = self._number
        while not self.read_all:
            try:
                page = await self._rows.outcomes(
                    self._execution_id, reached, route_id=self._route_id
                )
            except LineageUnavailableError as error:
                _log.warning("a stream waits", execution_id=self._execution_id, error=error.message)
                return
            reached, self.read_all = page.reached, page.complete
            if page.outcomes:
                # Numbers behind an execution's own may be given again, so no further than these.
                self._number = page.outcomes[-1].number
                yield [
                    StreamEvent(one.told["outcome"], one.told, one.name) for one in page.outcomes
                ]


def _is_final(execution: PipelineExecution) -> bool:
    return execution.status in FINAL and not execution.lineage_gap
