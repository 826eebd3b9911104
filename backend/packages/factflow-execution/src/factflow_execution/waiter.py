"""Waiting for executions to end, without asking again and again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from factflow_execution.models import PipelineExecution


class ExecutionWaiter:
    """Hands the end of an execution to everyone who waits for it.

    `current` reads an execution. It is read after the waiter has signed up, so an end between the two
    is not missed.
    """

    def __init__(self, current: Callable[[str], Awaitable[PipelineExecution]]) -> None:
        self._current = current
        self._waiting: dict[str, set[asyncio.Future[PipelineExecution]]] = defaultdict(set)

    async def wait(self, execution_id: str, timeout: float | None = None) -> PipelineExecution:
        """Return the execution once it ended, or as it stands after `timeout` seconds.

        One that ended before is returned at once. Raises `ExecutionNotFoundError`.
        """
        future: asyncio.Future[PipelineExecution] = asyncio.get_running_loop().create_future()
        self._waiting[execution_id].add(future)
        try:
            present = await self._current(execution_id)
            if present.ended:
                return present
            try:
                async with asyncio.timeout(timeout):
                    return await future
            except TimeoutError:
                return await self._current(execution_id)
        finally:
            self._forget(execution_id, future)

    def resolve(self, execution: PipelineExecution) -> None:
        """Wake all who wait for this execution, which has ended."""
        for future in self._waiting.get(execution.execution_id, ()):
            if not future.done():
                future.set_result(execution)

    def _forget(self, execution_id: str, future: asyncio.Future[PipelineExecution]) -> None:
        waiting = self._waiting[execution_id]
        waiting.discard(future)
        if not waiting:
            del self._waiting[execution_id]
