"""Waiting for executions to end, without asking again and again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from factflow_execution.event_streams import is_over
from factflow_execution.models import PipelineExecution


class ExecutionWaiter:
    """Hands the end of an execution to everyone who waits for it.

    `current` reads an execution. It is read after the waiter has signed up, so an end between the two
    is not missed. While one `awaits_recovery`, that it was interrupted is no end.
    """

    def __init__(
        self,
        current: Callable[[str], Awaitable[PipelineExecution]],
        awaits_recovery: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._current = current
        self._awaits_recovery = awaits_recovery
        self._closed = False
        self._waiting: dict[str, set[asyncio.Future[PipelineExecution | None]]] = defaultdict(set)

    async def wait(self, execution_id: str, timeout: float | None = None) -> PipelineExecution:
        """Return the execution once it ended, or as it stands after `timeout` seconds.

        One that ended before is returned at once. Raises `ExecutionNotFoundError`.
        """
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        ended: PipelineExecution | None = None
        while ended is None:
            future: asyncio.Future[PipelineExecution | None] = loop.create_future()
            self._waiting[execution_id].add(future)
            try:
                # Asked before: a row of before a recovery, beside an answer of after it, looks like an end.
                awaits = self._awaits_recovery(execution_id)
                present = await self._current(execution_id)
                if self._closed or is_over(present, awaits_recovery=awaits):
                    return present
                async with asyncio.timeout_at(until):
                    ended = await future
            except TimeoutError:
                return await self._current(execution_id)
            finally:
                self._forget(execution_id, future)
        return ended

    def close(self) -> None:
        """Have all who wait be answered with how things stand, from now on at once: the server stops."""
        self._closed = True
        self.look_again_all()

    def look_again(self, execution_id: str) -> None:
        """Have all who wait for this execution read it once more: another process may have changed it, or no
        recovery is to come any more."""
        for future in self._waiting.get(execution_id, ()):
            if not future.done():
                future.set_result(None)

    def look_again_all(self) -> None:
        """Have all who wait read their executions once more."""
        for execution_id in list(self._waiting):
            self.look_again(execution_id)

    def resolve(self, execution: PipelineExecution) -> None:
        """Wake all who wait for this execution, which has ended."""
        for future in self._waiting.get(execution.execution_id, ()):
            if not future.done():
                future.set_result(execution)

    def _forget(self, execution_id: str, future: asyncio.Future[PipelineExecution | None]) -> None:
        waiting = self._waiting[execution_id]
        waiting.discard(future)
        if not waiting:
            del self._waiting[execution_id]
