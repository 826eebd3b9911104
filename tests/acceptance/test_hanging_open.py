"""An adapter that blocks for ever, in `open` or at work, keeps nobody from using or stopping the server."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from factflow_testing.server_process import Finished, ServerProcess, wait_until


def pipeline(folder: Path) -> str:
    return f"""
version: "1.0"
name: blocked
init_message: {{route: r, payload: {{}}}}
routes: {{r: {{inbound: {{queue: q}}, adapters: [{{type: blocks, config: {{folder: '{folder}'}}}}]}}}}
"""


class Run(threading.Thread):
    """`factflow run FILE`, in the background, until the execution is entered."""

    def __init__(self, server: ServerProcess, file: Path, tag: str) -> None:
        super().__init__()
        self._server, self._arguments = server, ("run", file, "--tag", tag)
        self.ended: Finished | None = None
        self.start()
        wait_until(
            "it to begin", lambda: bool(server.get("/executions", status="running")["total"])
        )

    def run(self) -> None:
        self.ended = self._server.cli(*self._arguments)

    def code(self) -> int:
        self.join()
        assert self.ended is not None
        return self.ended.code


@pytest.mark.long
def test_what_blocks_in_open_can_be_cancelled_and_its_server_stopped(tmp_path: Path) -> None:
    options = (
        "--adapters",
        "factflow_testing.hanging_adapters",
        "--max-concurrent-executions",
        "1",
    )
    with ServerProcess(tmp_path / "data", *options) as server:
        file = tmp_path / "blocked.yaml"
        file.write_text(pipeline(tmp_path))
        first = Run(server, file, "first")
        assert server.cli("execution", "cancel", "first", "--grace", "0.1s").code == 0
        assert first.code() == 3
        assert server.get("/executions/first")["status"] == "cancelled"
        second = Run(server, file, "second")  # there is a place for it
        assert server.stop() == 0
        assert second.code() in {5, 9}  # it may not have come to ask for the end
    (tmp_path / "door").touch()
    with ServerProcess(tmp_path / "data", *options) as server:
        wait_until("it to go on", lambda: server.get("/executions/second")["status"] == "completed")
        assert server.get("/executions/first")["status"] == "cancelled"


@pytest.mark.long
def test_a_server_stops_while_an_adapter_blocks_its_thread(tmp_path: Path) -> None:
    """A thread cannot be cancelled, and is waited for by nobody."""
    options = ("--adapters", "factflow_testing.adapters")
    door = tmp_path / "door"
    text = f"""
version: "1.0"
init_message: {{route: r}}
routes: {{r: {{inbound: {{queue: q}}, adapters: [{{type: blocked, config: {{path: '{door}'}}}}]}}}}
"""
    with ServerProcess(tmp_path / "data", *options) as server:
        run = server.run(server.create(text))
        wait_until(
            "it to block",
            lambda: server.get(f"/executions/{run}/routes")["routes"][0]["in_progress"] == 1,
        )
        assert server.stop() == 0
    door.touch()
    with ServerProcess(tmp_path / "data", *options) as server:
        assert server.end_of_resumed(run)["status"] == "completed"
