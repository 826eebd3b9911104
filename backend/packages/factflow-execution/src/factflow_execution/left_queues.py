"""Queues that nobody needs any more: a process wrote how an execution ended, and died before it let them go.

The same holds for those of earlier generations.
"""

from __future__ import annotations

from factflow_engine.manager import OrchestratorManager
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.transitions import FINAL
from factflow_foundation import logs

_log = logs.logger(__name__)


class LeftQueues:
    """Finds them at start-up. Queues of an execution that is not known are left alone: the database may be
    another one than the queue's."""

    def __init__(self, repository: ExecutionRepository, manager: OrchestratorManager) -> None:
        self._repository = repository
        self._manager = manager

    async def forget(self) -> None:
        """Delete them. Raises what database and queue raise; it can be called again then."""
        for execution_id, generation in await self._manager.queues_left():
            execution = await self._repository.get(execution_id)
            if execution is None:
                continue
            if execution.status in FINAL or generation < execution.generation:
                _log.info("queues left behind", execution_id=execution_id, generation=generation)
                await self._manager.discard(execution_id, generation)
