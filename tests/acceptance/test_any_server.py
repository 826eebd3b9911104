"""Several servers on one database: whichever is asked, it answers for all, and carries out what is asked."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_testing.server_process import ServerProcess, wait_until
from factflow_testing.stack import Stack, grown_up_stack

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with grown_up_stack(tmp_path_factory.mktemp("stack")) as stack:
        stack.variables["FACTFLOW_LEASE_SECONDS"] = "10"
        yield stack


@pytest.fixture(scope="module")
def servers(stack: Stack) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with stack.server() as owner, stack.server() as other:
        yield owner, other


@pytest.fixture
def running(stack: Stack, servers: tuple[ServerProcess, ServerProcess]) -> Iterator[str]:
    """An execution of the first server that has been working, and goes on for longer than any test."""
    owner, _ = servers
    execution = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 1_000)))
    wait_until("some work", lambda: settled(owner, execution) > 10)
    yield execution
    owner.post(f"/executions/{execution}/cancel", {"grace_seconds": 0})


def settled(server: ServerProcess, execution: str) -> int:
    routes = server.get(f"/executions/{execution}/routes")["routes"]
    return sum(route["completed"] for route in routes)


def test_another_server_knows_how_an_execution_stands(
    servers: tuple[ServerProcess, ServerProcess], running: str
) -> None:
    _, other = servers
    routes = {one["route_id"]: one for one in other.get(f"/executions/{running}/routes")["routes"]}
    assert {one["state"] for one in routes.values()} == {"running"}
    assert all(one["concurrency"] for one in routes.values())
    assert sum(one["queued"] + one["in_progress"] for one in routes.values()) > 0
    assert other.get("/pipelines")["total"] == len(routes)
    [metrics] = other.get("/pipelines/work/metrics")["executions"]
    assert (metrics["execution_id"], metrics["holding"]) == (running, None)
    for path in (f"/executions/{running}/why", "/pipelines/work/why", f"/why/{running}"):
        codes = [cause["code"] for cause in other.get(path)["causes"]]
        assert codes
        assert not {"no_owner", "owner_silent"} & set(codes), (path, codes)
    [row] = other.get("/lineage", execution_id=running, limit=1)["entries"]
    message = row["message_id"]
    assert other.get(f"/why/{message}")["kind"] == "message"


def test_another_server_pauses_and_resumes(
    servers: tuple[ServerProcess, ServerProcess], running: str
) -> None:
    owner, other = servers

    def states(server: ServerProcess) -> set[str]:
        routes = server.get(f"/executions/{running}/routes")["routes"]
        return {route["state"] for route in routes if route["route_id"] == "work"}

    done = other.api.patch("/pipelines/work", json={"state": "paused"}).json()
    assert done["executions"] == [running]
    wait_until("the owner to pause", lambda: states(owner) == {"paused"} == states(other))
    owner.api.patch("/pipelines/work", json={"state": "running"})
    wait_until("both to resume", lambda: states(other) == {"running"} == states(owner))
    kinds = [name for name, _ in events(other, running, until="route_resumed")]
    assert [kind for kind in kinds if kind.startswith("route_")] == [
        "route_paused",
        "route_resumed",
    ]


def events(server: ServerProcess, execution: str, until: str) -> list[tuple[str, str]]:
    """Return the names and data of a stream's events, up to the first of a name."""
    return followed(server, f"/executions/{execution}/events", until)


def followed(server: ServerProcess, path: str, until: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    name = ""
    with server.api.stream("GET", path) as answer:
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and name:
                found.append((name, line.removeprefix("data: ")))
                if name == until:
                    break
    return found


def test_another_server_cancels_and_whoever_waits_anywhere_is_told(
    servers: tuple[ServerProcess, ServerProcess], running: str
) -> None:
    owner, other = servers
    told: dict[str, str] = {}

    def wait(name: str, server: ServerProcess) -> None:
        answer = server.api.post(f"/executions/{running}/wait", json={"timeout": 60}).json()
        told[name] = answer["status"]

    def follow() -> None:
        told["stream"] = events(other, running, until="end")[-1][0]

    waiting = [threading.Thread(target=wait, args=each) for each in zip("ab", servers, strict=True)]
    waiting.append(threading.Thread(target=follow))
    for one in waiting:
        one.start()
    answer = other.post(f"/executions/{running}/cancel", {"grace_seconds": 1})
    for one in waiting:
        one.join()
    assert answer["current_status"] == "cancelled"
    assert told == {"a": "cancelled", "b": "cancelled", "stream": "end"}
    assert owner.get(f"/executions/{running}")["status"] == "cancelled"


def test_a_silent_owner_is_named_and_keeps_nobody_from_answering(
    servers: tuple[ServerProcess, ServerProcess], running: str
) -> None:
    owner, other = servers
    os.kill(owner.pid, signal.SIGSTOP)
    try:
        routes = other.get(f"/executions/{running}/routes")["routes"]
        assert all("did not answer" in route["holding"] for route in routes)
        assert sum(route["completed"] for route in routes) > 10
        causes = other.get(f"/executions/{running}/why")["causes"]
        assert [cause["code"] for cause in causes] == ["owner_silent"]
    finally:
        os.kill(owner.pid, signal.SIGCONT)


def test_another_server_streams_what_is_stored_while_it_is(
    stack: Stack, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    owner, other = servers
    execution = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 20)))
    found = followed(other, f"/executions/{execution}/storage-stream", until="end")
    assert owner.get(f"/executions/{execution}")["status"] == STATUS
    records = [row for row in owner.rows(execution) if row["outcome"] is not None]
    assert len(found) == len(records) + 1


def test_a_server_deletes_and_another_one_knows(
    stack: Stack, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    owner, other = servers
    execution = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 5)))
    assert other.end_of(execution)["status"] == STATUS
    assert other.api.delete(f"/executions/{execution}").is_success
    for server in servers:
        wait_until("it to be gone", lambda server=server: deleted(server, execution))  # type: ignore[misc]


def deleted(server: ServerProcess, execution: str) -> bool:
    return bool(server.get(f"/executions/{execution}/deletion")["step"] == "done")


def test_servers_diagnose_their_queue_one_after_the_other(
    servers: tuple[ServerProcess, ServerProcess], running: str
) -> None:
    with ThreadPoolExecutor() as pool:
        found = list(
            pool.map(lambda server: server.post("/system/mq-diagnostic"), [*servers, *servers])
        )
    assert all(one["ok"] for one in found), found
    assert all({each["execution_id"] for each in one["queues"]} == {running} for one in found)


def test_a_dead_servers_execution_is_cancelled_by_another(
    stack: Stack, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    _, other = servers
    with stack.server() as third:
        execution = third.run(third.create(pipeline_yaml(stack.evidence.journal, 1_000)))
        third.kill()
    answer = other.post(f"/executions/{execution}/cancel", {"grace_seconds": 0})
    assert answer["current_status"] == "cancelled"
    assert other.get(f"/executions/{execution}")["recoveries"] <= 1
