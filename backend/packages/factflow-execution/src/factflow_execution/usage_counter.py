"""Counts what executions take of the storage, behind the work, when somebody asks."""

from __future__ import annotations

import asyncio

from factflow_execution.database_trouble import DATABASE_TROUBLE
from factflow_execution.execution_usages import ExecutionUsages
from factflow_foundation import keys, logs
from factflow_foundation.clock import Clock, SystemClock
from factflow_protocols.errors import StorageError
from factflow_protocols.storage import StorageProtocol, StorageUsage

CLOSE_SECONDS = 5.0

_log = logs.logger(__name__)


class UsageCounter:
    """One task while there is something to count, none else. `left` executions are still to be counted;
    of the present one `so_far` is known."""

    def __init__(
        self, usages: ExecutionUsages, storage: StorageProtocol, clock: Clock | None = None
    ) -> None:
        self.usages = usages
        self._storage = storage
        self._clock = clock or SystemClock()
        self._task: asyncio.Task[None] | None = None
        self.left = 0
        self.so_far = StorageUsage()

    async def count(self, *, anew: bool = False, wait: float = 0.0) -> bool:
        """Count what has to be; return whether all is counted, at the latest after `wait` seconds."""
        if self._task is None or self._task.done():
            execution_ids = await self.usages.to_count(anew=anew)
            self.left = len(execution_ids)
            if execution_ids:
                self._task = asyncio.create_task(self._run(execution_ids), name="usage-counter")
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=wait)
        return self._task is None or self._task.done()

    async def close(self) -> None:
        """Stop; what was counted is kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)

    async def _run(self, execution_ids: list[str]) -> None:
        try:
            for number, execution_id in enumerate(execution_ids):
                self.left = len(execution_ids) - number
                begun = self._clock.now()
                self.so_far = StorageUsage()
                async for sums in self._storage.usage(keys.execution_prefix(execution_id)):
                    self.so_far = sums
                await self.usages.put(execution_id, self.so_far, begun)
            self.left = 0
        except (StorageError, *DATABASE_TROUBLE) as error:
            _log.warning("not counted", reason=str(error))
