"""A worker as a process of its own, the way a user has it."""

from __future__ import annotations

import re
from pathlib import Path

from factflow_testing.server_process import SERVER_MODULE, StartedProcess

_READY = re.compile(r"Factflow worker (\d+) takes messages of (.+)\n")


class WorkerProcess(StartedProcess):
    """A worker that takes messages, as it says itself. Use it as a context manager."""

    def __init__(self, *arguments: str | Path, cwd: Path | None = None, **variables: str) -> None:
        command = [*SERVER_MODULE, "worker", *map(str, arguments)]
        super().__init__(command, cwd, variables)
        self._wait_until_ready(_READY)
