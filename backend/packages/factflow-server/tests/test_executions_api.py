from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest


async def start(client: httpx2.AsyncClient, config_yaml: str, **more: Any) -> dict[str, Any]:
    stored = (await client.post("/configs", json={"config_yaml": config_yaml})).json()
    answer = await client.post("/executions", json={"config_id": stored["id"], **more})
    assert answer.status_code == 201, answer.text
    execution: dict[str, Any] = answer.json()
    return execution


async def ended(client: httpx2.AsyncClient, execution_id: str) -> dict[str, Any]:
    waited = (await client.post(f"/executions/{execution_id}/wait", json={"timeout": 30})).json()
    assert waited["completed"], waited
    execution: dict[str, Any] = (await client.get(f"/executions/{execution_id}")).json()
    return execution


async def test_a_pipeline_runs_to_its_end(client: httpx2.AsyncClient, numbers_yaml: str) -> None:
    started = await start(client, numbers_yaml, metadata={"by": "test"})
    assert (started["status"], started["source"]) == ("running", "api")
    assert started["id"] == started["execution_id"]
    execution = await ended(client, started["execution_id"])
    assert (execution["status"], execution["failed_count"]) == ("completed", 0)
    assert execution["message_count"] == 1 + 2 + 2  # init, two numbers, two squares
    assert execution["duration_ms"] > 0
    assert execution["metadata"] == {"by": "test"}
    assert execution["config_snapshot"] == numbers_yaml
    assert [route["route_id"] for route in execution["routes"]] == ["numbers", "squares"]
    squares = execution["routes"][1]
    assert (squares["name"], squares["state"]) == ("Squares of squares", "stopped")
    assert (squares["total_messages"], squares["completed"], squares["failed"]) == (2, 2, 0)


async def test_init_overrides_are_laid_over_the_yaml(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    config = (await client.post("/configs", json={"config_yaml": numbers_yaml})).json()
    started = await client.post(f"/configs/{config['id']}/run?tag=one", json={"upto": 1})
    assert started.status_code == 201
    execution = await ended(client, "one")
    assert execution["message_count"] == 1 + 1 + 1
    key = f"executions/{execution['id']}/_init.json"
    assert (await client.get(f"/storage/objects/{key}")).json() == {"upto": 1}


async def test_a_failed_message_fails_the_execution_and_is_found(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    started = await start(client, numbers_yaml, init={"upto": 4})
    execution = await ended(client, started["id"])
    assert (execution["status"], execution["failed_count"]) == ("failed", 1)
    found = (await client.get("/lineage/failures", params={"execution_id": started["id"]})).json()
    assert found["total"] == 1
    row = found["entries"][0]
    assert (row["stage"], row["status"]) == ("square", "failed")
    assert "not to be squared" in row["error"]["message"]
    chain = (await client.get(f"/lineage/{row['id']}/chain")).json()
    assert [above["stage"] for above in chain["ancestors"]] == ["count_up"]
    assert chain["descendants"] == []
    stats = (await client.get(f"/executions/{started['id']}/stats")).json()
    assert (stats["failed_messages"], stats["in_progress_messages"]) == (1, 0)
    by_stage = {stage["stage"]: stage for stage in stats["stages"]}
    assert (by_stage["square"]["count"], by_stage["square"]["failed"]) == (4, 1)
    assert by_stage["again"]["completed"] == 3
    assert list(by_stage) == ["count_up", "square", "again"], "as the pipeline runs"
    of_lineage = await client.get("/lineage/stats", params={"execution_id": started["id"]})
    assert of_lineage.json()["stages"] == stats["stages"]
    narrowed = {"execution_id": started["id"], "status": "failed", "started_before": "2999-01-01"}
    (failed,) = (await client.get("/lineage/stats", params=narrowed)).json()["stages"]
    assert (failed["stage"], failed["count"], failed["failed"]) == ("square", 1, 1)
    of_all = (await client.get("/lineage/stats", params={"route_id": failed["route_id"]})).json()
    assert of_all["execution_id"] is None
    assert [stage["stage"] for stage in of_all["stages"]] == ["count_up", "square"]


async def test_what_a_stage_made_is_listed_read_and_described(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    started = await start(client, numbers_yaml, init={"upto": 4}, tag="kept")
    await ended(client, started["id"])
    prefix = f"executions/{started['id']}/squares/again"
    listed = (
        await client.get(
            "/storage/objects",
            params={"execution_id": "kept", "prefix": "squares/again", "include_metadata": True},
        )
    ).json()
    assert (listed["total"], listed["has_more"]) == (3, False)
    contents = []
    for found in listed["objects"]:
        assert found["key"].startswith(prefix)
        assert found["metadata"]["outcome"] == "stored"
        read = await client.get(f"/storage/objects/{found['key']}")
        assert read.headers["content-type"] == "application/json"
        assert "sandbox" in read.headers["content-security-policy"]
        assert len(read.content) == found["size"]
        contents.append(read.json()["number"])
    assert sorted(contents) == [1, 16, 256]
    key = listed["objects"][0]["key"]
    described = (await client.get(f"/storage/metadata/{key}")).json()
    assert (described["key"], described["stage"], described["size"]) == (
        key,
        "again",
        listed["objects"][0]["size"],
    )
    assert (await client.get(f"/storage/objects/{key}/metadata")).json() == described


async def test_the_record_of_a_failed_message_is_found_without_an_object(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    started = await start(client, numbers_yaml, init={"upto": 3})
    await ended(client, started["id"])
    row = (await client.get("/lineage", params={"status": "failed"})).json()["entries"][0]
    key = f"executions/{started['id']}/{row['route_id']}/{row['stage']}/{row['message_id']}"
    described = (await client.get(f"/storage/metadata/{key}")).json()
    assert described["outcome"] == "failed"
    assert described["error"]["message"] == "3 is not to be squared"
    payload = (await client.get(f"/storage/objects/{row['input_key']}")).json()
    assert payload == {"number": 3}


async def test_an_emitted_artefact_is_described_by_what_emitted_it(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    started = await start(client, numbers_yaml, init={"upto": 3})
    execution = await ended(client, started["id"])
    row = (await client.get("/lineage", params={"stage": "square"})).json()["entries"][0]
    described = (await client.get(f"/storage/metadata/{row['input_key']}")).json()
    assert (described["key"], described["stage"]) == (row["input_key"], "count_up")
    assert described["config_hash"] == execution["config_hash"]
    assert described["output_hash"] == row["input_hash"]
    assert described["adapter_version"]


async def test_a_running_execution_is_cancelled_once(
    client: httpx2.AsyncClient, gated_yaml: str
) -> None:
    started = await start(client, gated_yaml)
    path = f"/executions/{started['id']}"
    waiting = asyncio.create_task(client.post(f"{path}/wait", json={"timeout": 30}))
    cancelled = (await client.post(f"{path}/cancel", json={"grace_seconds": 0})).json()
    assert (cancelled["success"], cancelled["previous_status"], cancelled["current_status"]) == (
        True,
        "running",
        "cancelled",
    )
    assert (await waiting).json()["status"] == "cancelled"
    again = await client.patch(path, json={"status": "cancelled"})
    assert (again.status_code, again.json()["success"]) == (200, True)
    assert again.json()["message"] == "it was cancelled before"
    assert (await client.get(path)).json()["status"] == "cancelled"


async def test_waiting_ends_when_the_time_is_up(
    client: httpx2.AsyncClient, gated_yaml: str, tmp_path: Path
) -> None:
    started = await start(client, gated_yaml)
    waited = (await client.post(f"/executions/{started['id']}/wait", json={"timeout": 1})).json()
    assert (waited["completed"], waited["status"]) == (False, "running")
    routes = (await client.get(f"/executions/{started['id']}/routes")).json()["routes"]
    assert (routes[0]["state"], routes[0]["in_progress"]) == ("running", 1)
    (tmp_path / "open").touch()
    assert (await ended(client, started["id"]))["status"] == "completed"


async def test_no_more_than_the_limit_run_and_a_refused_one_leaves_nothing(
    client: httpx2.AsyncClient, gated_yaml: str, tmp_path: Path
) -> None:
    config = (await client.post("/configs", json={"config_yaml": gated_yaml})).json()
    run = f"/configs/{config['id']}/run"
    started = [(await client.post(run)).json()["id"] for _ in range(3)]
    refused = await client.post(f"{run}?tag=late")
    assert (refused.status_code, refused.json()["error_code"]) == (429, "too_many_executions")
    assert (await client.get("/executions")).json()["total"] == 3
    (tmp_path / "open").touch()
    for execution_id in started:
        await ended(client, execution_id)
    await no_slot_taken(client)
    assert (await client.post(f"{run}?tag=late")).status_code == 201
    await ended(client, "late")
    kept = {found["key"].split("/")[1] for found in await objects(client)}
    assert len(kept) == 4


async def no_slot_taken(client: httpx2.AsyncClient) -> None:
    """Wait until the executions that ended have let go of their queues and slots."""
    message = ""
    while not message.startswith("0 of"):
        parts = (await client.get("/system/health")).json()["components"]
        message = next(part["message"] for part in parts if part["name"] == "orchestrator")


async def objects(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await client.get("/storage/objects?limit=1000")).json()[
        "objects"
    ]
    return listed


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("tag", ["", "a b", "a/b", "0190a0a0-0000-7000-8000-000000000000", "é"])
async def test_a_tag_that_cannot_stand_for_an_id_is_refused(
    shared_client: httpx2.AsyncClient, numbers_yaml: str, tag: str
) -> None:
    stored = (await shared_client.post("/configs", json={"config_yaml": numbers_yaml})).json()
    refused = await shared_client.post("/executions", json={"config_id": stored["id"], "tag": tag})
    assert (refused.status_code, refused.json()["error_code"]) == (422, "invalid_request")


async def test_a_tag_names_one_execution(client: httpx2.AsyncClient, numbers_yaml: str) -> None:
    started = await start(client, numbers_yaml, tag="nightly")
    stored = (await client.post("/configs", json={"config_yaml": numbers_yaml})).json()
    refused = await client.post("/executions", json={"config_id": stored["id"], "tag": "nightly"})
    assert (refused.status_code, refused.json()["error_code"]) == (409, "tag_taken")
    assert (await ended(client, "nightly"))["id"] == started["id"]
    kept = {found["key"].split("/")[1] for found in await objects(client)}
    assert kept == {started["id"]}


async def test_an_init_without_an_init_message_is_refused_and_leaves_nothing(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    silent = numbers_yaml.partition("init_message:")[0]
    stored = (await client.post("/configs", json={"config_yaml": silent})).json()
    body = {"config_id": stored["id"], "init": {"upto": 1}}
    refused = await client.post("/executions", json=body)
    assert (refused.status_code, refused.json()["error_code"]) == (422, "invalid_request")
    assert await objects(client) == []
    started = await client.post("/executions", json={"config_id": stored["id"]})
    execution = await ended(client, started.json()["id"])
    assert (execution["status"], execution["message_count"]) == ("completed", 0)
    assert execution["warning"]


async def test_an_edited_config_changes_nothing_that_was_started(
    client: httpx2.AsyncClient, gated_yaml: str, numbers_yaml: str, tmp_path: Path
) -> None:
    started = await start(client, gated_yaml)
    await client.put(f"/configs/{started['config_id']}", json={"config_yaml": numbers_yaml})
    await client.delete(f"/configs/{started['config_id']}")
    (tmp_path / "open").touch()
    execution = await ended(client, started["id"])
    assert execution["config_snapshot"] == gated_yaml
    assert execution["config_version"] == 1
    dag = (await client.get(f"/executions/{started['id']}/dag")).json()
    assert [(node["route_id"], node["adapters"]) for node in dag["nodes"]] == [("gated", ["gate"])]
    assert (dag["init_queue"], dag["edges"]) == ("gated", [])


async def test_executions_are_listed_newest_first_and_by_status(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    first = await start(client, numbers_yaml)
    await ended(client, first["id"])
    second = await start(client, numbers_yaml, init={"upto": 3})
    await ended(client, second["id"])
    listed = (await client.get("/executions")).json()
    assert [row["id"] for row in listed["executions"]] == [second["id"], first["id"]]
    failed = (await client.get("/executions", params={"status": "failed"})).json()
    assert ([row["id"] for row in failed["executions"]], failed["total"]) == ([second["id"]], 1)


async def test_health_and_adapters(client: httpx2.AsyncClient) -> None:
    health = (await client.get("/system/health")).json()
    assert health["status"] == "healthy", health
    assert {part["name"] for part in health["components"]} == {
        "database",
        "queue",
        "storage",
        "lineage",
        "orchestrator",
    }
    adapters = {
        found["type"]: found for found in (await client.get("/adapters")).json()["adapters"]
    }
    assert adapters["square"]["description"] == "Multiplies a number by itself."
    assert not adapters["square"]["changed_on_disk"]
    shown = (await client.get("/adapters/square")).json()
    assert "fail_on" in shown["config_schema"]["properties"]
