"""What people asked for before a crash is in force after it: pauses, and the end of an execution."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from factflow_testing.server_process import ServerProcess, wait_until

PIPELINE = """
version: "1.0"
name: held
init_message: {route: up, payload: {}}
routes:
  up:
    inbound: {queue: up}
    adapters: [{type: fan, config: {count: 4}}, {type: echo}]
    outbound: down
  down:
    inbound: {queue: down}
    adapters: [{type: echo, stage: last}]
"""


def asked_and_killed(
    data: Path, adapters: tuple[str, ...], point: str, before: Any, request: Any
) -> Any:
    """Have a server die while it does what it is asked; return what `before` gave."""
    with ServerProcess(data, *adapters, FACTFLOW_CRASH_POINT=point) as server:
        given = before(server)
        with pytest.raises(httpx2.TransportError):
            request(server, given)
        assert server.wait_dead() == -signal.SIGKILL
    return given


def pause(server: ServerProcess, _given: Any = None) -> None:
    server.api.patch("/pipelines/down", json={"state": "paused", "reason": "it is being moved"})


def resume(server: ServerProcess, _given: Any = None) -> None:
    server.api.patch("/pipelines/down", json={"state": "running"})


def start(server: ServerProcess) -> str:
    return server.run(server.create(PIPELINE))


def waits_at_down(server: ServerProcess, execution: str) -> None:
    def four_wait() -> bool:
        routes = server.get(f"/executions/{execution}/routes")["routes"]
        down = next(route for route in routes if route["route_id"] == "down")
        return (down["state"], down["queued"]) == ("paused", 4)

    wait_until("four messages to wait at the paused route", four_wait)


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "paused"),
    [
        pytest.param("route.pause.before", False, marks=pytest.mark.long),
        ("route.pause.after", True),
    ],
)
def test_a_pause_counts_from_the_moment_it_is_written(
    tmp_path: Path, adapters: tuple[str, ...], point: str, paused: bool
) -> None:
    asked_and_killed(tmp_path, adapters, point, lambda _: None, pause)
    with ServerProcess(tmp_path, *adapters) as server:
        execution = start(server)
        if paused:
            waits_at_down(server, execution)
            [found] = server.get("/pipelines")["pauses"]
            assert found["reason"] == "it is being moved"
            resume(server)
        assert server.end_of(execution)["status"] == "completed"


@pytest.mark.parametrize(
    ("point", "paused"),
    [
        pytest.param("route.resume.before", True, marks=pytest.mark.long),
        pytest.param("route.resume.after", False, marks=pytest.mark.long),
    ],
)
def test_a_pause_is_over_from_the_moment_that_is_written(
    tmp_path: Path, adapters: tuple[str, ...], point: str, paused: bool
) -> None:
    def paused_in_the_middle(server: ServerProcess) -> str:
        pause(server)
        execution = start(server)
        waits_at_down(server, execution)
        return execution

    execution = asked_and_killed(tmp_path, adapters, point, paused_in_the_middle, resume)
    with ServerProcess(tmp_path, *adapters) as server:
        if paused:
            waits_at_down(server, execution)
            resume(server)
        ended = server.end_of(execution)
        assert (ended["status"], ended["message_count"]) == ("completed", 1 + 4 + 4)
        assert ended["recoveries"] == 1


@pytest.mark.long
def test_a_pause_with_an_end_outlives_a_kill_and_ends_in_its_time(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    with ServerProcess(tmp_path, *adapters) as server:
        server.cli("pipeline", "pause", "down", "--until", "1h").done()
        execution = start(server)
        waits_at_down(server, execution)
        pause = server.cli("pipeline", "pause", "down", "--until", "8s").done()["pause"]
        assert server.kill() == -signal.SIGKILL
    until = datetime.fromisoformat(pause["until"])
    with ServerProcess(tmp_path, *adapters) as server:
        pauses = server.get("/pipelines")["pauses"]
        assert pauses == [pause] or datetime.now(UTC) >= until  # on a slow machine it is over now
        ended = server.end_of(execution)
        assert (ended["status"], ended["recoveries"]) == ("completed", 1)
        assert server.get("/pipelines")["pauses"] == []
        rows = server.rows(execution, stage="last")
        assert len(rows) == 4
        assert min(datetime.fromisoformat(row["started_at"]) for row in rows) >= until


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "cancelled"),
    [
        pytest.param("execution.cancel.before", False, marks=pytest.mark.long),
        ("execution.cancel.after", True),
    ],
)
def test_a_cancelled_execution_stays_cancelled(
    tmp_path: Path, adapters: tuple[str, ...], point: str, cancelled: bool
) -> None:
    def running(server: ServerProcess) -> str:
        pause(server)
        execution = start(server)
        waits_at_down(server, execution)
        return execution

    def cancel(server: ServerProcess, execution: str) -> None:
        server.api.post(f"/executions/{execution}/cancel", json={"grace_seconds": 0})

    execution = asked_and_killed(tmp_path, adapters, point, running, cancel)
    with ServerProcess(tmp_path, *adapters) as server:
        resume(server)
        ended = server.end_of(execution)
        assert ended["status"] == ("cancelled" if cancelled else "completed")
        assert len(server.rows(execution, stage="last")) == (0 if cancelled else 4)
