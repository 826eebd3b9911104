from __future__ import annotations

from typing import Any

import httpx2
import pytest


async def ended(client: httpx2.AsyncClient, execution_id: str) -> dict[str, Any]:
    await client.post(f"/executions/{execution_id}/wait", json={"timeout": 30})
    execution: dict[str, Any] = (await client.get(f"/executions/{execution_id}")).json()
    return execution


@pytest.fixture
async def source(client: httpx2.AsyncClient, numbers_yaml: str) -> dict[str, Any]:
    """An execution of four numbers, of which the third failed at `square`."""
    config = (await client.post("/configs", json={"config_yaml": numbers_yaml})).json()
    body = {"config_id": config["id"], "init": {"upto": 4}, "tag": "source"}
    started = (await client.post("/executions", json=body)).json()
    return await ended(client, started["id"])


async def test_a_replay_continues_from_a_stage_in_a_new_execution(
    client: httpx2.AsyncClient, source: dict[str, Any]
) -> None:
    answer = await client.post(
        "/executions/source/replay", json={"from_stage": "square", "metadata": {"why": "test"}}
    )
    assert answer.status_code == 201, answer.text
    replay = answer.json()
    assert replay["parent_execution_id"] == replay["from_execution_id"] == source["id"]
    assert (replay["source"], replay["from_stage"]) == ("replay", "numbers/square")
    assert (replay["objects_found"], replay["objects_published"]) == (4, 4)
    assert replay["selected"] == {
        "after_stage": 3,
        "at_stage_failed": 1,
        "at_stage_queued": 0,
        "skipped_by_condition": 0,
        "run_again": 0,
        "filtered_again": 0,
    }
    assert "not run again" in replay["note"]
    execution = await ended(client, replay["id"])
    assert (execution["status"], execution["failed_count"]) == ("failed", 1)
    assert execution["metadata"] == {"why": "test"}
    rows = (await client.get("/lineage", params={"execution_id": replay["id"]})).json()["entries"]
    assert sum(row["stage"] == "square" for row in rows) == 1
    assert sum(row["stage"] == "again" for row in rows) == 3
    assert (await client.get("/executions/source")).json() == source


async def test_both_endpoints_are_one_service(
    client: httpx2.AsyncClient, source: dict[str, Any]
) -> None:
    body = {"from_execution_id": source["id"], "from_stage": "square", "tag": "twice"}
    first = (await client.post("/replay", json=body)).json()
    assert first["objects_found"] == 4
    taken = await client.post(
        "/executions/source/replay", json={"from_stage": "square", "tag": "twice"}
    )
    assert (taken.status_code, taken.json()["error_code"]) == (409, "tag_taken")


async def test_artefacts_are_sent_to_another_route(
    client: httpx2.AsyncClient, source: dict[str, Any]
) -> None:
    body = {"from_stage": "again", "to_route": "squares"}
    replay = (await client.post("/executions/source/replay", json=body)).json()
    assert (replay["to_route"], replay["to_queue"]) == ("squares", "squares")
    execution = await ended(client, replay["id"])
    assert (execution["status"], execution["message_count"]) == ("completed", 3)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"from_stage": "nothing"}, 422, "stage_not_found"),
        ({"from_stage": "square", "to_route": "nowhere"}, 422, "route_not_found"),
        ({"from_stage": "again"}, 422, "replay_empty"),
        ({}, 422, "invalid_request"),
    ],
)
async def test_a_replay_that_cannot_be_is_refused(
    client: httpx2.AsyncClient, source: dict[str, Any], body: dict[str, str], status: int, code: str
) -> None:
    refused = await client.post("/executions/source/replay", json=body)
    assert (refused.status_code, refused.json()["error_code"]) == (status, code)
    assert (await client.get("/executions")).json()["total"] == 1


async def test_a_replay_of_nobody_is_not_found(client: httpx2.AsyncClient) -> None:
    refused = await client.post("/executions/nobody/replay", json={"from_stage": "square"})
    assert (refused.status_code, refused.json()["error_code"]) == (404, "execution_not_found")
