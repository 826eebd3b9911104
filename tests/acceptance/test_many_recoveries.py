"""A server that finds more executions than it may run at a time takes them up in turn, oldest first."""

from __future__ import annotations

from pathlib import Path

import pytest

from factflow_testing.server_process import ServerProcess, wait_until

COUNT, LIMIT = 30, 12
PIPELINE = """
version: "1.0"
name: gated
init_message: {route: r, payload: {}}
routes:
  r:
    inbound: {queue: r}
    adapters: [{type: gate}, {type: fan, config: {count: 2}}, {type: echo, stage: last}]
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "killed", [pytest.param(True, marks=pytest.mark.long), False], ids=["killed", "stopped"]
)
def test_thirty_are_worked_through_while_the_server_answers(
    tmp_path: Path, adapters: tuple[str, ...], killed: bool
) -> None:
    data, gate = tmp_path / "data", tmp_path / "gate"
    with ServerProcess(data, *adapters, "--max-concurrent-executions", str(COUNT)) as server:
        config = server.create(PIPELINE)
        started = [server.run(config, gate=str(gate)) for _ in range(COUNT)]
        assert server.kill() if killed else server.stop() == 0
    with ServerProcess(data, *adapters, "--max-concurrent-executions", str(LIMIT)) as server:
        wait_until(
            "as many to run as may",
            lambda: server.get("/executions", status="running")["total"] == LIMIT,
        )
        running = server.get("/executions", status="running")["executions"]
        assert {row["execution_id"] for row in running} == set(started[:LIMIT])
        left = server.get("/executions", status="interrupted")
        assert {row["execution_id"] for row in left["executions"]} == set(started[LIMIT:])
        assert server.get("/system/health")["status"] == "healthy"

        given_up = started[-1]  # one that waits for its turn is cancelled at once
        assert server.post(f"/executions/{given_up}/cancel")["current_status"] == "cancelled"
        gate.touch()
        for execution in started[:-1]:
            wait_until(
                "every one to complete",
                lambda one=execution: server.get(f"/executions/{one}")["status"] == "completed",  # type: ignore[misc]
            )
            found = server.get(f"/executions/{execution}")
            assert (found["recoveries"], found["message_count"]) == (1, 1 + 2)
        assert server.get(f"/executions/{given_up}")["status"] == "cancelled"
