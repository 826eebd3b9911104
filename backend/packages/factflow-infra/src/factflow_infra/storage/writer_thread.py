"""One thread that does the blocking work of an event loop's many writers, batch by batch.

A hop to a thread pool per write costs the loop more than the write itself. Here a request is put on a
queue, the thread takes all that wait, and the whole batch is answered with one wake-up of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from factflow_protocols.errors import StorageUnavailableError

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")

BATCH_LIMIT = 64
"""Requests answered together; more would keep the first of them waiting."""
BACKLOG_LIMIT = 1024
"""Requests handed over and not answered; further callers wait before theirs is taken."""


@dataclass(slots=True)
class _Job(Generic[RequestT, AnswerT]):
    request: RequestT
    future: asyncio.Future[AnswerT]
    answer: AnswerT | None = None
    error: Exception | None = None


class WriterThread(Generic[RequestT, AnswerT]):
    """Runs `perform_all(requests)` for all that is submitted, in order, off the event loop.

    It returns an answer or an error for each request. `finish` runs on the same thread at the end. Serves
    the one event loop that submits first. A caller that is cancelled while its request waits takes it
    back; a request that was begun is always finished.
    """

    def __init__(
        self,
        perform_all: Callable[[Sequence[RequestT]], Sequence[AnswerT | Exception]],
        *,
        name: str,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        self._perform_all = perform_all
        self._finish = finish
        self._name = name
        self._jobs: queue.SimpleQueue[_Job[RequestT, AnswerT] | None] = queue.SimpleQueue()
        self._slots = asyncio.Semaphore(BACKLOG_LIMIT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    async def submit(self, request: RequestT) -> AnswerT:
        """Have the request performed; return its answer or raise its error.

        Raises `StorageUnavailableError` once closed.
        """
        await self._slots.acquire()
        try:
            loop = self._start()
        except BaseException:
            self._slots.release()
            raise
        job: _Job[RequestT, AnswerT] = _Job(request, loop.create_future())
        self._jobs.put(job)
        return await job.future

    async def close(self) -> None:
        """Finish every request taken so far and end the thread; repeated calls do nothing more."""
        if not self._closed:
            self._closed = True
            if self._thread is not None:
                self._jobs.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _start(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise StorageUnavailableError("the store is closed")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        elif self._loop is not loop:
            raise RuntimeError("a store serves one event loop; open another store for this one")
        return loop

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._take()
            self._do([job for job in batch if not job.future.cancelled()])
            # A loop that is closed has nobody waiting for an answer.
            with contextlib.suppress(RuntimeError):
                if batch and self._loop is not None:
                    self._loop.call_soon_threadsafe(self._answer, batch)
        self._finish()

    def _take(self) -> tuple[list[_Job[RequestT, AnswerT]], bool]:
        """Wait for a job, then take all that stand behind it; False at the end."""
        batch: list[_Job[RequestT, AnswerT]] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == BATCH_LIMIT:
                return batch, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _do(self, jobs: list[_Job[RequestT, AnswerT]]) -> None:
        if not jobs:
            return
        try:
            answers = self._perform_all([job.request for job in jobs])
        except Exception as error:  # noqa: BLE001 - carried to the callers, who raise it
            answers = [error] * len(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, Exception):
                job.error = answer
            else:
                job.answer = answer

    def _answer(self, batch: list[_Job[RequestT, AnswerT]]) -> None:
        for job in batch:
            self._slots.release()
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.answer)  # type: ignore[arg-type]  # None is an answer too
