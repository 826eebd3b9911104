"""The server tells how it is and what it has done, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from factflow_protocols.queue import QueueScope
from factflow_server.app import create_app
from factflow_server.settings import ServerSettings
from factflow_server.startup import running
from factflow_testing.waiting import eventually

ROOT = "http://127.0.0.1:8000"


async def run(client: httpx2.AsyncClient, config_yaml: str, *, wait: bool = True) -> str:
    stored = (await client.post("/configs", json={"config_yaml": config_yaml})).json()
    execution = (await client.post("/executions", json={"config_id": stored["id"]})).json()
    if wait:
        await client.post(f"/executions/{execution['execution_id']}/wait", json={"timeout": 30})
    return str(execution["execution_id"])


async def get(client: httpx2.AsyncClient, path: str, **query: str) -> dict[str, Any]:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def in_hand(client: httpx2.AsyncClient) -> bool:
    return bool((await get(client, "/system/metrics"))["messages_in_flight"])


async def test_health_names_every_part_and_with_debug_tells_of_each(
    client: httpx2.AsyncClient,
) -> None:
    short = await get(client, "/system/health")
    assert (short["status"], {part["debug"] for part in short["components"]}) == ("healthy", {None})
    names = [part["name"] for part in short["components"]]
    assert sorted(names) == ["database", "lineage", "orchestrator", "queue", "storage"]
    long = await get(client, "/system/health", debug="true")
    told = {part["name"]: part["debug"]["details"] for part in long["components"]}
    assert told["orchestrator"]["max_concurrent_executions"] == 3
    assert told["storage"]["data_disk_free_bytes"] > 0
    assert (told["lineage"]["backlog"], told["lineage"]["gap_rows"]) == (0, 0)
    assert all(part["debug"]["latency_ms"] is not None for part in long["components"])


async def test_a_part_that_does_not_answer_is_told_with_what_to_do(
    settings: ServerSettings,
) -> None:
    async with running(settings) as container:
        transport = httpx2.ASGITransport(app=create_app(container))
        async with httpx2.AsyncClient(transport=transport, base_url=ROOT) as client:
            assert (await client.get("/readyz")).json() == {"status": "ok"}
            await container.queue_diagnostic._queue.close()
            health = (await client.get("/api/v1/system/health")).json()
            [queue] = [part for part in health["components"] if part["name"] == "queue"]
            assert (health["status"], queue["status"]) == ("unhealthy", "unhealthy")
            assert queue["hint"]
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["status"]) == (503, "unhealthy: queue")
            assert (await client.get("/healthz")).json() == {"status": "ok"}
            diagnosis = (await client.post("/api/v1/system/mq-diagnostic")).json()
            assert (diagnosis["ok"], len(diagnosis["round_trips"])) == (False, 1)
            assert diagnosis["round_trips"][0]["error"].startswith("open: the queue")
            await container.executions.close()
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["status"]) == (503, "stopping")


async def test_the_snapshot_counts_messages_of_what_ran_and_what_runs(
    client: httpx2.AsyncClient, numbers_yaml: str, gated_yaml: str, tmp_path: Path
) -> None:
    await run(client, numbers_yaml.replace("upto: 2", "upto: 3"))
    gated = await run(client, gated_yaml, wait=False)
    await eventually(lambda: in_hand(client))
    now = await get(client, "/system/metrics")
    # the init message, three numbers, and the squares of two of them; then the gate's own
    assert (now["messages_received"], now["messages_completed"]) == (7, 5)
    assert (now["messages_failed"], now["messages_in_flight"]) == (1, 1)
    assert (now["running_routes"], now["messages_queued"]) == (1, 0)
    assert (now["executions"]["running"], now["executions"]["failed"]) == (1, 1)
    assert now["executions_ended"]["failed"] == 1
    (tmp_path / "open").touch()
    await client.post(f"/executions/{gated}/wait", json={"timeout": 30})

    async def at_rest() -> bool:
        return bool((await get(client, "/system/metrics"))["running_routes"] == 0)

    await eventually(at_rest)
    after = await get(client, "/system/metrics")
    assert (after["messages_received"], after["messages_completed"]) == (7, 6)


async def test_a_route_tells_its_pace_durations_and_failures(
    client: httpx2.AsyncClient, numbers_yaml: str, gated_yaml: str, tmp_path: Path
) -> None:
    ended = await run(client, numbers_yaml.replace("upto: 2", "upto: 3"))
    [route] = (await get(client, "/pipelines/numbers/metrics", execution_id=ended))["executions"]
    assert (route["completed"], route["failed"], route["failure_share"]) == (3, 1, 0.25)
    assert route["throughput"]["since_start_per_second"] > 0
    assert [stage["stage"] for stage in route["stages"]] == ["count_up", "square"]
    assert all(stage["p95_ms"] >= stage["p50_ms"] > 0 for stage in route["stages"])
    assert (route["state"], route["execution_status"]) == ("stopped", "failed")

    gated = await run(client, gated_yaml, wait=False)
    await eventually(lambda: in_hand(client))
    [route] = (await get(client, "/pipelines/gated/metrics"))["executions"]
    assert (route["execution_id"], route["in_progress"], route["state"]) == (gated, 1, "running")
    assert route["throughput"]["last_minute_per_second"] == 0
    (tmp_path / "open").touch()
    await client.post(f"/executions/{gated}/wait", json={"timeout": 30})


async def test_a_running_route_tells_its_pace_of_the_last_minute(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    await client.patch("/pipelines/squares", json={"state": "paused"})
    execution = await run(client, numbers_yaml, wait=False)

    async def settled() -> bool:
        [route] = (await get(client, "/pipelines/numbers/metrics"))["executions"]
        return bool(route["completed"] == 3 and route["throughput"]["last_minute_per_second"] > 0)

    await eventually(settled)
    [waiting] = (await get(client, "/pipelines/squares/metrics"))["executions"]
    assert (waiting["state"], waiting["queued"], waiting["failure_share"]) == ("paused", 2, None)
    await client.patch("/pipelines/squares", json={"state": "running"})
    await client.post(f"/executions/{execution}/wait", json={"timeout": 30})


async def test_a_route_that_nobody_runs_now_tells_of_the_latest_that_did(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    """The newest execution that had it, whatever ran since; none, while only a config has it."""
    await client.post("/configs", json={"config_yaml": numbers_yaml})
    told = await get(client, "/pipelines/squares/metrics")
    assert (told["executions"], told["running"]) == ([], 0)
    assert "a config has it" in told["note"]
    await run(client, numbers_yaml)
    latest = await run(client, numbers_yaml)
    await run(client, numbers_yaml.replace("squares", "other"))
    told = await get(client, "/pipelines/squares/metrics")
    [route] = told["executions"]
    assert (route["execution_id"], route["completed"]) == (latest, 2)
    assert route["throughput"]["last_minute_per_second"] == 0
    assert latest in told["note"]
    await client.post("/executions/delete", json={"execution_ids": [latest]})
    [route] = (await get(client, "/pipelines/squares/metrics"))["executions"]
    assert route["execution_id"] != latest


@pytest.mark.parametrize(
    ("route", "query", "code"),
    [
        ("nowhere", {}, "route_not_running"),
        ("nowhere", {"execution_id": "nobody"}, "execution_not_found"),
    ],
)
async def test_a_route_of_nobody_is_not_found(
    client: httpx2.AsyncClient, route: str, query: dict[str, str], code: str
) -> None:
    answer = await client.get(f"/pipelines/{route}/metrics", params=query)
    assert (answer.status_code, answer.json()["error_code"]) == (404, code)


async def test_an_execution_without_the_route_says_so(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    ended = await run(client, numbers_yaml)
    answer = await client.get("/pipelines/other/metrics", params={"execution_id": ended})
    assert (answer.status_code, answer.json()["error_code"]) == (404, "route_not_running")


async def test_a_diagnostic_goes_through_every_queue_and_leaves_nothing(
    settings: ServerSettings, numbers_yaml: str
) -> None:
    async with running(settings) as container:
        transport = httpx2.ASGITransport(app=create_app(container))
        base = f"{ROOT}/api/v1"
        async with httpx2.AsyncClient(transport=transport, base_url=base, timeout=60) as client:
            await client.patch("/pipelines/squares", json={"state": "paused"})
            execution = await run(client, numbers_yaml, wait=False)

            async def both_wait() -> bool:
                found = (await client.post("/system/mq-diagnostic")).json()
                return [queue["ready"] for queue in found["queues"]] == [0, 2]

            await eventually(both_wait)
            found = (await client.post("/system/mq-diagnostic", json={"timeout_seconds": 9})).json()
            assert found["ok"], found
            trips = {trip["queue"]: trip for trip in found["round_trips"]}
            assert sorted(trips) == ["diagnostic", "numbers", "squares"]
            assert all(trip["take_ms"] is not None and trip["ok"] for trip in trips.values())
            assert [queue["consumers"] for queue in found["queues"]] == [1, 1]
            assert await container.queue_diagnostic._queue.find(QueueScope("diagnostic")) is None
            await client.patch("/pipelines/squares", json={"state": "running"})
            waited = await client.post(f"/executions/{execution}/wait", json={"timeout": 30})
            assert waited.json()["status"] == "completed", "its own messages were left alone"


async def test_a_diagnostic_without_patience_is_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/system/mq-diagnostic", json={"timeout_seconds": 0})
    assert (answer.status_code, answer.json()["error_code"]) == (422, "invalid_request")
