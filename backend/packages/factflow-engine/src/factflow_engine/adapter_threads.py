"""Threads for what blocks in adapters: as many as there are calls at a time.

The event loop's own threads are few, serve the whole server, and are waited for when it ends: some adapters
that hang would stop all of it. How many calls there are at a time is for a route's slots to say.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

IDLE_SECONDS = 10.0
"""How long a thread without work stays; starting one takes 50 microseconds and more."""


class AdapterThreads:
    """Starts a thread when none is idle. They are daemons: one that hangs keeps no process from ending."""

    def __init__(self) -> None:
        self._idle: list[_Thread] = []
        self._lock = threading.Lock()

    async def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a blocking call returns, or raise what it raises.

        It sees the context variables of the caller. When this is cancelled, the call cannot be: it goes on
        by itself, and nobody hears of its end.
        """
        done: Future[Any] = Future()
        done.set_running_or_notify_cancel()
        with self._lock:
            thread = self._idle.pop() if self._idle else _Thread(self._rest, self._wait)
        thread.work.put((done, partial(contextvars.copy_context().run, call, *arguments)))
        return await asyncio.wrap_future(done)

    def _rest(self, thread: _Thread) -> None:
        with self._lock:
            self._idle.append(thread)

    def _wait(self, thread: _Thread) -> _Job | None:
        """Return the next job of a thread that rests; None when none came for so long that it is to end."""
        try:
            return thread.work.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                if thread in self._idle:
                    self._idle.remove(thread)
                    return None
            return thread.work.get()  # somebody has just chosen it


_Job = tuple[Future[Any], Callable[[], Any]]


class _Thread:
    """A thread and what it is given to do."""

    def __init__(
        self, rest: Callable[[_Thread], None], wait: Callable[[_Thread], _Job | None]
    ) -> None:
        self.work: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._rest = rest
        self._wait = wait
        threading.Thread(target=self._run, name="adapter", daemon=True).start()

    def _run(self) -> None:
        job: _Job | None = self.work.get()
        while job is not None:
            self._do(*job)
            del job  # nothing of it is kept while the thread rests
            job = self._wait(self)

    def _do(self, done: Future[Any], call: Callable[[], Any]) -> None:
        """Do a job; it can be given the next one by whoever hears of the end of this."""
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told, whatever it is
            self._rest(self)
            done.set_exception(error)
        else:
            self._rest(self)
            done.set_result(result)


adapter_threads = AdapterThreads()
"""Those of this process."""
