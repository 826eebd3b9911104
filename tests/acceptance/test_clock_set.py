"""Somebody sets the clock of the machine: nothing is lost, hangs, or gets a time below zero."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from factflow_testing.server_process import ServerProcess, wait_until
from factflow_testing.shifted_clock import set_clock

CLOCK = ("--adapters", "factflow_testing.shifted_clock", "factflow_testing.adapters")
DAY = 86_400
COUNT = 12


def _pipeline(delay: float, attempts: int) -> str:
    return f"""
version: "1.0"
name: retrying
error_handling: {{max_retries: 3, retry_delay_seconds: {delay}}}
init_message: {{route: r, payload: {{}}}}
routes:
  r:
    inbound: {{queue: q}}
    adapters:
      - {{type: fan, config: {{count: {COUNT}}}}}
      - {{type: fail, config: {{until_attempt: {attempts}}}}}
      - {{type: tell_time}}
"""


def _all_wait_for_a_retry(server: ServerProcess, execution: str) -> bool:
    [route] = server.get(f"/executions/{execution}/routes")["routes"]
    return bool(route["delayed"] == COUNT)


def _whole(server: ServerProcess, execution: str, attempts: int) -> None:
    ended = server.end_of(execution)
    assert (ended["status"], ended["failed_count"]) == ("completed", 0)
    assert ended["duration_ms"] >= 0
    wait_until("lineage to be whole", lambda: len(_done(server, execution)) == 1 + 2 * COUNT)
    rows = _done(server, execution)
    assert {row["attempts"] for row in rows if row["stage"] == "fail"} == {attempts}
    assert all(row["duration_ms"] >= 0 for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)


def _done(server: ServerProcess, execution: str) -> list[dict[str, Any]]:
    return server.rows(execution, status="completed")


@pytest.mark.long
def test_retries_come_in_their_time_though_the_clock_goes_back_and_forth(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    with ServerProcess(tmp_path / "data", *CLOCK, FACTFLOW_TEST_CLOCK=str(clock)) as server:
        config = server.create(_pipeline(delay=1.5, attempts=2))
        runs = []
        for shift in (-DAY, DAY, -7 * DAY):
            runs.append(server.run(config))
            wait_until("all to wait", lambda: _all_wait_for_a_retry(server, runs[-1]))
            set_clock(clock, shift)
            _whole(server, runs[-1], attempts=2)
            seen = min(_times(server, runs[-1])) - time.time()
            assert shift - 60 < seen < shift + 60, "the clock was set"
        assert len(set(runs)) == len(server.get("/executions")["executions"]) == 3
        assert server.get("/system/health")["uptime_seconds"] >= 0


def _times(server: ServerProcess, execution: str) -> list[float]:
    rows = server.rows(execution, stage="tell_time")
    return [json.loads(server.read(row["output_key"]))["time"] for row in rows]


def _attempts(server: ServerProcess, execution: str) -> set[int]:
    return {row["attempts"] for row in server.rows(execution, stage="fail")}


@pytest.mark.long
def test_a_crash_and_a_clock_set_meanwhile_lose_nothing(tmp_path: Path) -> None:
    """Lineage goes by attempts, not by times: the later attempt's row stands though it is the older."""
    clock = tmp_path / "clock"
    data = tmp_path / "data"
    with ServerProcess(data, *CLOCK, FACTFLOW_TEST_CLOCK=str(clock)) as server:
        execution = server.run(server.create(_pipeline(delay=600, attempts=2)))
        wait_until("all to wait", lambda: _all_wait_for_a_retry(server, execution))
        wait_until("lineage to know", lambda: _attempts(server, execution) == {2})
        server.kill()
    set_clock(clock, -DAY)
    with ServerProcess(data, *CLOCK, FACTFLOW_TEST_CLOCK=str(clock)) as server:
        wait_until("it to go on", lambda: _is(server, execution, "running"))
        assert _all_wait_for_a_retry(server, execution)
        assert _attempts(server, execution) == {2}
        server.kill()
    set_clock(clock, DAY)
    with ServerProcess(data, *CLOCK, FACTFLOW_TEST_CLOCK=str(clock)) as server:
        _whole(server, execution, attempts=2)


def _is(server: ServerProcess, execution: str, status: str) -> bool:
    return bool(server.get(f"/executions/{execution}")["status"] == status)
