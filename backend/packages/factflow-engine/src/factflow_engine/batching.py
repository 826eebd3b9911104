"""Gathers messages for an adapter that works on many at a time.

A batch runs when it is full or when its first message has waited long enough. A batch that fails as a
whole is halved until the culprit stands alone; the others get their results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from factflow_engine.config.models import BatchConfig
from factflow_foundation import ids
from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import AdapterResult, PipelineContext

BatchResults = Sequence[AdapterResult | None | Exception]
Begin = Callable[[], None]
BatchCall = Callable[[list[PipelineContext], Begin], Awaitable[BatchResults]]


class Answer(NamedTuple):
    """What a stage returned for one message, and the batch it was part of."""

    result: AdapterResult | None
    batch_id: str | None = None


_Waiting = tuple[PipelineContext, "asyncio.Future[Answer]", Begin]


class BatchGatherer:
    """One stage's waiting batch. `call` is the adapter's `process_batch`, with its slot and time limit."""

    def __init__(self, config: BatchConfig, call: BatchCall) -> None:
        self._config = config
        self._call = call
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, context: PipelineContext, begin: Begin) -> Answer:
        """Return the adapter's answer for this message; raise what it raised for it.

        `begin` is called when its batch begins to run.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((context, future, begin))
        if len(self._waiting) >= self._config.size:
            self._run_waiting()
        elif self._timer is None:
            self._timer = loop.call_later(self._config.wait_ms / 1000, self._run_waiting)
        return await future

    @property
    def waiting(self) -> list[str]:
        """Return the ids of the messages that wait for their batch to fill."""
        return [context.message_id for context, _, _ in self._waiting]

    async def close(self) -> None:
        """Cancel what waits and what runs, and return when it has ended."""
        if self._timer is not None:
            self._timer.cancel()
        for _, future, _ in self._waiting:
            future.cancel()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _run_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = [entry for entry in self._waiting if not entry[1].done()]
        self._waiting = []
        if batch:
            task = asyncio.create_task(self._run(batch), name="batch")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, batch: list[_Waiting]) -> None:
        contexts = [context for context, _, _ in batch]

        def begin() -> None:
            for _, _, begin_one in batch:
                begin_one()

        batch_id = ids.derive("batch", *(context.idempotency_key for context in contexts))
        try:
            results = _matching(await self._call(contexts, begin), len(batch))
        except asyncio.CancelledError:
            for _, future, _ in batch:
                future.cancel()
            raise
        except SystemExit as error:  # would end the server from within a task
            await self._halve(batch, RuntimeError(f"the adapter called sys.exit({error.code!r})"))
            return
        except Exception as error:  # noqa: BLE001 - an adapter may raise anything; its messages get it
            await self._halve(batch, error)
            return
        for (_, future, _), result in zip(batch, results, strict=True):
            _deliver(future, result, batch_id)

    async def _halve(self, batch: list[_Waiting], error: Exception) -> None:
        if len(batch) == 1:
            _deliver(batch[0][1], error, None)
            return
        middle = len(batch) // 2
        await self._run(batch[:middle])
        await self._run(batch[middle:])


def _matching(results: BatchResults, count: int) -> BatchResults:
    if len(results) != count:
        raise PermanentError(
            f"process_batch returned {len(results)} results for {count} messages",
            hint="return one result, None or exception per context, in their order",
        )
    return results


def _deliver(
    future: asyncio.Future[Answer], result: AdapterResult | None | Exception, batch_id: str | None
) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(Answer(result, batch_id))
