"""A real server that runs the workloads: started, asked over HTTP, killed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_runs import ADAPTERS
from stage_adapters import LINE_BYTES
from storage_kinds import storage_variables

from factflow_testing.server_process import ServerProcess

PATIENCE = 3600.0
PAUSE = 0.01


class Server(ServerProcess):
    """A server on a folder; `ready` is how many seconds it took to listen."""

    def __init__(self, folder: Path, *, packed: bool = False) -> None:
        self.spawned = time.time()
        variables = storage_variables(folder, packed=packed)
        super().__init__(folder / "data", "--adapters", ADAPTERS, cwd=None, under=(), **variables)
        self.ready = time.time() - self.spawned

    def begin(self, pipeline: str) -> str:
        """Start an execution of a new config and return its id."""
        return self.run(self.create(pipeline))

    def finish(self, execution_id: str) -> dict[str, Any]:
        """Wait until an execution has ended; SystemExit unless it completed."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = self.post(f"/executions/{execution_id}/wait", {"timeout": 60})
            if answer["completed"]:
                break
        execution: dict[str, Any] = self.get(f"/executions/{execution_id}")
        if execution["status"] != "completed":
            raise SystemExit(f"an execution ended {execution['status']}: {execution['error_info']}")
        return execution

    def row_count(self, execution_id: str) -> int:
        """Return how many lineage rows an execution has."""
        return int(self.get("/lineage", execution_id=execution_id, limit=1)["total"])


@dataclass(frozen=True, slots=True)
class Journal:
    """The file that stages write a line to for every call."""

    path: Path

    def calls(self) -> int:
        """Return how many calls there were, without reading them."""
        return self.path.stat().st_size // LINE_BYTES if self.path.exists() else 0

    def wait_for(self, calls: int) -> None:
        """Return as soon as there were so many calls; SystemExit when there never are."""
        wait_until(f"{calls} calls", lambda: self.calls() >= calls)

    def counts(self) -> Counter[tuple[str, int]]:
        """Return how often each stage was called for each message."""
        lines = (line.split() for line in self.path.read_text().splitlines())
        return Counter((stage, int(number)) for stage, number, _ in lines)

    def times(self, stage: str) -> list[float]:
        """Return when a stage was called, in order (Unix seconds)."""
        lines = (line.split() for line in self.path.read_text().splitlines())
        return sorted(float(at) for name, _, at in lines if name == stage)


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    """Return once `holds()` is true; SystemExit when it stays false."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(PAUSE)
