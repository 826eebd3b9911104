"""Servers that leave messages to workers: shared, paused, cancelled, refused, and told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_testing.server_process import (
    ServerDidNotStartError,
    ServerProcess,
    wait_until,
)
from factflow_testing.stack import BROKERS, grown_up_stack
from factflow_testing.worker_process import WorkerProcess

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("broker", BROKERS)
def test_workers_share_what_a_server_leaves_to_them(
    tmp_path: Path, broker: Callable[[], str]
) -> None:
    with (
        grown_up_stack(tmp_path, broker()) as stack,
        stack.server("--no-work") as server,
        stack.worker() as one,
        stack.worker() as two,
    ):
        execution = server.run(server.create(pipeline_yaml(stack.evidence.journal, 120)))
        assert server.end_of(execution)["status"] == STATUS
        by = stack.commits()
        assert set(by) <= {one.pid, two.pid, server.pid}
        assert min(by[one.pid], by[two.pid]) > 0
        stack.check(server.url)
        assert one.stop() == two.stop() == 0


def test_without_a_worker_nothing_moves_and_why_says_so(tmp_path: Path) -> None:
    with grown_up_stack(tmp_path) as stack, stack.server("--no-work") as server:
        execution = server.run(server.create(pipeline_yaml(stack.evidence.journal, 10)))

        def causes() -> str:
            return json.dumps(server.get(f"/why/{execution}")["causes"])

        wait_until("why to say it", lambda: '"no_worker"' in causes())
        assert "factflow worker --routes" in causes()
        with stack.worker("--routes", "split"):
            wait_until("what it serves to move", lambda: "route split" not in causes())
            assert '"no_worker"' in causes()
            with stack.worker("--routes", "work", "again", "--concurrency", "3"):
                assert server.end_of(execution)["status"] == STATUS
        stack.check(server.url)


def test_a_worker_that_lacks_an_adapter_says_which(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    pipeline = """
version: "1.0"
name: special
init_message: {route: only, payload: {}}
routes:
  only:
    inbound: {queue: only}
    adapters: [{type: echo}]
"""
    with (
        grown_up_stack(tmp_path) as stack,
        stack.server("--no-work", *adapters) as server,
        stack.worker(),
    ):
        execution = server.run(server.create(pipeline))

        def causes() -> str:
            return json.dumps(server.get(f"/why/{execution}")["causes"])

        wait_until("the refusal", lambda: '"worker_refused"' in causes())
        assert "echo" in causes()
        health = server.get("/system/health", debug=True)["components"]
        [part] = (one for one in health if one["name"] == "workers")
        assert part["status"] == "degraded"
        assert "echo" in part["message"]
        with stack.worker(*adapters):
            assert server.end_of(execution)["status"] == "completed"


def test_a_paused_route_is_paused_everywhere_and_a_cancelled_execution_rests(
    tmp_path: Path,
) -> None:
    with (
        grown_up_stack(tmp_path) as stack,
        stack.server("--no-work") as server,
        stack.worker() as worker,
    ):
        server.api.patch("/pipelines/work", json={"state": "paused"})
        execution = server.run(server.create(pipeline_yaml(stack.evidence.journal, 40)))
        wait_until("the route before it to be through", lambda: _waiting(server, execution) >= 40)
        server.post(f"/executions/{execution}/cancel")
        assert server.get(f"/executions/{execution}")["status"] == "cancelled"
        assert [line for line in stack.evidence.lines() if line.unit.route == "work"] == []
        server.api.patch("/pipelines/work", json={"state": "running"})
        again = server.run(server.create(pipeline_yaml(stack.evidence.journal, 40)))
        assert server.end_of(again)["status"] == STATUS
        assert worker.alive


def _waiting(server: ServerProcess, execution: str) -> int:
    routes = server.get(f"/executions/{execution}/routes")["routes"]
    return sum(route["queued"] for route in routes if route["route_id"] == "work")


def _whole(server: ServerProcess, execution: str) -> bool:
    """Tell whether lineage lacks nothing any more that it is known to lack."""
    parts = server.get("/system/health", debug=True)["components"]
    [lineage] = (part for part in parts if part["name"] == "lineage")
    return bool(lineage["status"] == "healthy") and not server.get(f"/why/{execution}")["causes"][
        -1
    ]["code"].startswith("lineage")


@pytest.mark.parametrize("broker", BROKERS)
def test_a_killed_workers_messages_go_to_others(tmp_path: Path, broker: Callable[[], str]) -> None:
    with grown_up_stack(tmp_path, broker()) as stack, stack.server("--no-work") as server:
        config = server.create(pipeline_yaml(stack.evidence.journal, 150))
        execution = server.run(config)
        with stack.worker() as first, stack.worker():
            wait_until("some work", lambda: stack.commits()[first.pid] > 20)
            first.kill()
            stack.evidence.note_kill()
            assert server.end_of(execution)["status"] == STATUS
        wait_until("its rows to be made again", lambda: _whole(server, execution))
        stack.check(server.url)


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("FACTFLOW_STORAGE_URI", "not named: FACTFLOW_STORAGE_URI"),
        ("FACTFLOW_DATABASE_URL", "not named: FACTFLOW_DATABASE_URL"),
        ("FACTFLOW_QUEUE_URL", "not named: FACTFLOW_QUEUE_URL"),
    ],
)
def test_a_worker_says_what_it_lacks(left_out: str, words: str) -> None:
    variables = {
        "FACTFLOW_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "FACTFLOW_QUEUE_URL": "amqp://127.0.0.1:1/",
        "FACTFLOW_STORAGE_URI": "s3://bucket/prefix",
    }
    del variables[left_out]
    with pytest.raises(ServerDidNotStartError, match=words) as refused:
        WorkerProcess(cwd=None, **variables)
    assert refused.value.code == 2
    assert "hint: " in str(refused.value)
    assert "Traceback" not in str(refused.value)
