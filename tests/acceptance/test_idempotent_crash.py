"""`kill -9` between an idempotency key and its execution: the key neither blocks nor starts two."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from factflow_testing.server_process import ServerProcess

PIPELINE = """
version: "1.0"
init_message: {route: split, payload: {n: 0}}
routes:
  split: {inbound: {queue: split}, adapters: [{type: fan, config: {count: 3}}]}
"""
ADAPTERS = ("--adapters", "factflow_testing.adapters")


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "status"), [("execution.insert.before", 201), ("execution.insert.after", 200)]
)
def test_a_request_that_is_repeated_after_a_crash_has_one_execution(
    tmp_path: Path, point: str, status: int
) -> None:
    """Killed before the row's commit, the repeat starts it; killed after, it finds it and it goes on."""
    data = tmp_path / "data"
    with ServerProcess(data, *ADAPTERS) as server:
        config = server.create(PIPELINE)
    body = {"config_id": config, "idempotency_key": "nightly-7"}
    with ServerProcess(data, *ADAPTERS, FACTFLOW_CRASH_POINT=f"{point}:1") as server:
        with pytest.raises(httpx2.TransportError):
            server.api.post("/executions", json=body)
        server.wait_dead()
    with ServerProcess(data, *ADAPTERS) as server:
        answers = [server.api.post("/executions", json=body) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [status, 200]
        execution = answers[0].json()["execution_id"]
        assert answers[1].json()["execution_id"] == execution
        assert server.end_of(execution)["status"] == "completed"
        assert server.get("/executions")["total"] == 1
