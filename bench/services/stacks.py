"""Servers and workers that run the workloads: on the embedded default, and on the services that are there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine_runs import ADAPTERS, WARM_UP
from servers import PATIENCE

from factflow_testing.server_process import ServerProcess
from factflow_testing.stack import grown_up_stack

Pipeline = Callable[[int], str]
NONE: Mapping[str, str] = {}
WITH_ADAPTERS = ("--adapters", ADAPTERS)


class Stack:
    """A server, and workers if there are any; `seconds` of a pipeline are from its start to its end."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server

    def seconds(self, pipeline: Pipeline, count: int) -> float:
        """Return how long an execution of so many messages takes, after a small one of the same."""
        self._run(pipeline(WARM_UP))
        begun = time.perf_counter()
        self._run(pipeline(count))
        return time.perf_counter() - begun

    def _run(self, text: str) -> None:
        execution = self._server.run(self._server.create(text))
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._server.post(f"/executions/{execution}/wait", {"timeout": 60})["completed"]:
                break
        ended: dict[str, Any] = self._server.get(f"/executions/{execution}")
        if ended["status"] != "completed":
            raise SystemExit(f"an execution ended {ended['status']}: {ended['error_info']}")


@contextlib.contextmanager
def embedded(folder: Path, variables: Mapping[str, str] = NONE) -> Iterator[Stack]:
    """Lend one process that does everything."""
    with ServerProcess(folder / "data", *WITH_ADAPTERS, cwd=None, under=(), **variables) as server:
        yield Stack(server)


@contextlib.contextmanager
def shared(folder: Path, workers: int, queue_url: str | None = None) -> Iterator[Stack]:
    """Lend a server on PostgreSQL and a broker whose messages so many workers take; without any it takes
    them itself."""
    with grown_up_stack(folder, queue_url) as stack, contextlib.ExitStack() as running:
        del stack.variables["FACTFLOW_COMMIT_JOURNAL"]  # nobody is judged here
        alone = () if workers == 0 else ("--no-work",)
        server = running.enter_context(stack.server(*alone, *WITH_ADAPTERS))
        for _ in range(workers):
            running.enter_context(stack.worker(*WITH_ADAPTERS))
        yield Stack(server)
