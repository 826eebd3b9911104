"""Ends of executions that cannot be written now: asked for again until they can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_foundation import logs
from factflow_protocols.errors import StorageUnavailableError

Act = Callable[[], Awaitable[None]]

_log = logs.logger(__name__)


class LateEnds:
    """Insists on what ends an execution, however often database and storage have to be asked."""

    def __init__(self) -> None:
        self.unwritten: dict[str, str] = {}
        """Executions whose end cannot be written now, and why."""
        self._behind: set[asyncio.Task[None]] = set()
        self._closed = False

    async def insist(self, execution_id: str, act: Act) -> None:
        """Do it, at once or as soon as there is room again.

        Raises the trouble that is met once closing has begun: the next server will find the execution
        without an owner.
        """
        try:
            for delay in _delays():
                try:
                    await act()
                except (*DATABASE_TROUBLE, StorageUnavailableError) as error:
                    reason = reason_of(error)
                    self.unwritten[execution_id] = reason
                    _log.warning("cannot write an end", execution_id=execution_id, error=reason)
                    if self._closed:
                        raise
                    await asyncio.sleep(delay)
                else:
                    return
        finally:
            self.unwritten.pop(execution_id, None)

    async def insist_behind(self, execution_id: str, act: Act, patience: float) -> None:
        """Do it; return when it is done, or after `patience` seconds, while it goes on being tried."""
        task = asyncio.create_task(self.insist(execution_id, act))
        self._behind.add(task)
        task.add_done_callback(self._forget)
        await asyncio.wait([task], timeout=patience)

    def close_begun(self) -> None:
        """Insist no longer: one more try each."""
        self._closed = True

    async def close(self) -> None:
        """Leave what is still being tried to the next start."""
        self.close_begun()
        for task in list(self._behind):
            task.cancel()
            await asyncio.wait([task])

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._behind.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("could not clean up after a failed launch", error=str(error))


def _delays() -> Iterator[float]:
    """Yield seconds between attempts: 0.1, 0.2, … and then 5 for ever."""
    delay = 0.1
    while True:
        yield delay
        delay = min(delay * 2, 5.0)
