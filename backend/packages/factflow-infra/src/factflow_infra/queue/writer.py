"""The one thread that touches the queue's file, and the way to it and back.

Requests made in one turn of the event loop travel together; while the thread commits, further ones
gather and become its next transaction. One call back into the loop answers a whole transaction.
"""

from __future__ import annotations

import asyncio
import queue as thread_queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from factflow_infra.queue.batch import commit
from factflow_infra.queue.operations import Operation
from factflow_infra.queue.queue_file import Contents, QueueFile
from factflow_infra.queue.schema import unavailable
from factflow_infra.queue.scope_state import ScopeState

MAX_BATCH = 1_000
ANSWERS_PER_TURN = 16

T = TypeVar("T")


class Writer:
    """Runs operations. Everything but `_run` and what it calls belongs to the event loop."""

    def __init__(self, path: Path, *, fsync: bool, boot: str | None) -> None:
        self._path = path
        self._fsync = fsync
        self._boot = boot
        self._loop = asyncio.get_running_loop()
        self._outbox: list[Operation] = []
        self._answered: deque[Operation] = deque()
        self._inbox: thread_queue.SimpleQueue[list[Operation] | None] = thread_queue.SimpleQueue()
        self._started: asyncio.Future[Contents] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="factflow-queue", daemon=True)

    async def start(self) -> Contents:
        """Open the file and return what it holds. Raises `QueueUnavailableError`."""
        self._thread.start()
        return await asyncio.shield(self._started)

    def submit(self, operation: Operation) -> asyncio.Future[None]:
        """Have an operation run; the future tells when it is durable and in memory."""
        operation.done = self._loop.create_future()
        if not self._outbox:
            self._loop.call_soon(self._send)
        self._outbox.append(operation)
        return operation.done

    async def stop(self) -> None:
        """End the thread after all that was submitted, and close the file."""
        self._send()
        self._inbox.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()
        self._tell_callers(len(self._answered))

    def _send(self) -> None:
        if self._outbox:
            self._inbox.put(self._outbox)
            self._outbox = []

    def _answer(self, operations: Sequence[Operation]) -> None:
        touched: set[ScopeState] = set()
        for operation in operations:
            if operation.error is not None:
                operation.abandon()
            elif (scope := operation.apply()) is not None:
                touched.add(scope)
        for scope in touched:
            scope.tell_if_drained()
        idle = not self._answered
        self._answered.extend(operations)
        if idle:
            self._tell_callers(ANSWERS_PER_TURN)

    def _tell_callers(self, count: int) -> None:
        """Tell some callers, and the rest in the next turns of the loop: each sets a message going."""
        for _ in range(min(count, len(self._answered))):
            operation = self._answered.popleft()
            if operation.done.done():
                continue
            if operation.error is None:
                operation.done.set_result(None)
            else:
                operation.done.set_exception(operation.error)
        if self._answered:
            self._loop.call_soon(self._tell_callers, ANSWERS_PER_TURN)

    # -- on the thread

    def _run(self) -> None:
        try:
            file, contents = self._open()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the start
            self._call(self._started.set_exception, error)
            self._call(self._ended.set_result, None)
            return
        self._call(self._started.set_result, contents)
        try:
            while (operations := self._next()) is not None:
                for first in range(0, len(operations), MAX_BATCH):
                    part = operations[first : first + MAX_BATCH]
                    commit(file, part, self._path)
                    if not self._call(self._answer, part):
                        return
        finally:
            file.close()
            self._call(self._ended.set_result, None)

    def _open(self) -> tuple[QueueFile, Contents]:
        file = QueueFile(self._path, fsync=self._fsync, boot=self._boot)
        try:
            return file, file.load()
        except sqlite3.Error as error:
            file.close()
            raise unavailable(self._path, error) from error

    def _next(self) -> list[Operation] | None:
        """Wait for work and take all there is; None at the end."""
        operations = self._inbox.get()
        if operations is None:
            return None
        while len(operations) < MAX_BATCH:
            try:
                more = self._inbox.get_nowait()
            except thread_queue.Empty:
                break
            if more is None:
                self._inbox.put(None)
                break
            operations = operations + more
        return operations

    def _call(self, function: Callable[[T], object], argument: T) -> bool:
        """Have the loop call; False when it is closed, and with it all who could care."""
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:
            return False
        return True
