"""What other processes tell of executions, brought to those who wait for it here.

They write status, events and lineage rows, and ask for ends; whoever follows an execution on this server, or
runs it, is woken by their word and looks at what the database says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from factflow_engine.manager import OrchestratorManager
from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.execution_events import STATUS
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.execution_service import ExecutionService
from factflow_foundation import logs
from factflow_foundation.changes import Changes
from factflow_foundation.notifications import Notifications, Topic

ROWS: Topic = "rows"
RETRY_SECONDS = 1.0

_log = logs.logger(__name__)


class SharedChanges(Changes):
    """Changes of which other processes are told, too, as far as several keys are told at once: lineage's."""

    def __init__(self, notifications: Notifications) -> None:
        super().__init__()
        self._notifications = notifications

    def tell_each(self, keys: Iterable[str], topic: str) -> None:
        """Tell those who listen to any of the keys, in this process at the loop's next turn."""
        if topic != ROWS:
            super().tell_each(keys, topic)
            return
        for key in set(keys):
            self._notifications.tell(ROWS, key)


class NewsOfOthers:
    """Passes on what is told between `start` and `close`, and stops what runs here and is to be cancelled."""

    def __init__(
        self,
        notifications: Notifications,
        changes: Changes,
        executions: ExecutionService,
        repository: ExecutionRepository,
        manager: OrchestratorManager,
    ) -> None:
        self._notifications = notifications
        self._changes = changes
        self._executions = executions
        self._repository = repository
        self._manager = manager
        self._looked_at: set[str] = set()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._listening = contextlib.ExitStack()

    def start(self) -> None:
        """Begin to listen."""
        listen = self._notifications.listen
        self._listening.callback(listen("execution", self._told_execution))
        self._listening.callback(listen("rows", self._told_rows))
        self._told_execution(None)
        self._task = asyncio.create_task(self._carry_out(), name="cancels asked of others")

    async def close(self) -> None:
        """Listen no more."""
        self._listening.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- inside

    def _told_execution(self, execution_id: str | None) -> None:
        if execution_id is None:
            self._changes.tell_everyone(STATUS)
            self._executions.waiter.look_again_all()
            self._looked_at.update(self._executions.here())
        else:
            self._changes.tell(execution_id, STATUS)
            self._executions.waiter.look_again(execution_id)
            if execution_id in self._executions.here():
                self._looked_at.add(execution_id)
        if self._looked_at:
            self._wanted.set()

    def _told_rows(self, execution_id: str | None) -> None:
        if execution_id is None:
            self._changes.tell_everyone(ROWS)
        else:
            self._changes.tell(execution_id, ROWS)

    async def _carry_out(self) -> None:
        """Stop what somebody asked another server to cancel."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            wanted, self._looked_at = self._looked_at, set()
            try:
                for execution_id in wanted:
                    grace = await self._repository.grace_of_cancel(execution_id)
                    if grace is not None:
                        self._manager.ask_to_stop(execution_id, "cancelled", grace)
            except DATABASE_TROUBLE as error:
                _log.warning("cancels cannot be looked for", reason=reason_of(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._looked_at |= wanted
                self._wanted.set()
