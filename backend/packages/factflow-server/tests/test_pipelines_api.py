"""Routes are paused and resumed by name, whatever runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from factflow_testing.waiting import eventually

PAUSE = {"state": "paused", "reason": "the model moves", "requested_by": "ada"}


async def start(client: httpx2.AsyncClient, config_yaml: str) -> str:
    stored = (await client.post("/configs", json={"config_yaml": config_yaml})).json()
    execution = (await client.post("/executions", json={"config_id": stored["id"]})).json()
    return str(execution["execution_id"])


async def routes(client: httpx2.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await client.get("/pipelines", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_paused_route_keeps_its_messages_until_it_is_resumed(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    done = (await client.patch("/pipelines/squares", json=PAUSE)).json()
    assert (done["success"], done["status"], done["executions"]) == (True, "paused", [])
    assert "no execution runs it" in done["message"]
    execution = await start(client, numbers_yaml)

    async def both_wait() -> bool:
        found = await routes(client, execution_id=execution)
        waiting = {route["route_id"]: route for route in found["routes"]}["squares"]
        return (waiting["state"], waiting["queued"]) == ("paused", 2)

    await eventually(both_wait)
    [route] = [r for r in (await routes(client))["routes"] if r["route_id"] == "squares"]
    assert (route["pause"]["reason"], route["pause"]["paused_by"]) == ("the model moves", "ada")
    detail = (await client.get(f"/executions/{execution}")).json()
    assert detail["status"] == "running"
    states = {route["route_id"]: route["state"] for route in detail["routes"]}
    assert states == {"numbers": "running", "squares": "paused"}

    done = (await client.patch("/pipelines/squares", json={"state": "running"})).json()
    assert done["executions"] == [execution]
    waited = (await client.post(f"/executions/{execution}/wait", json={"timeout": 30})).json()
    assert waited["status"] == "completed"

    async def none_runs() -> bool:
        return await routes(client) == {"total": 0, "routes": [], "pauses": []}

    await eventually(none_runs)  # its queues are let go of behind its status


async def test_a_route_in_use_tells_where_it_takes_no_more(
    client: httpx2.AsyncClient, gated_yaml: str, tmp_path: Path
) -> None:
    execution = await start(client, gated_yaml)

    async def in_hand() -> bool:
        [route] = (await routes(client))["routes"]
        return bool(route["in_progress"] == 1)

    await eventually(in_hand)
    done = (await client.patch("/pipelines/gated", json={"state": "paused"})).json()
    assert done["executions"] == [execution]
    (tmp_path / "open").touch()
    waited = (await client.post(f"/executions/{execution}/wait", json={"timeout": 30})).json()
    assert waited["status"] == "completed", "what is in hand goes on to its end"


@pytest.mark.asyncio(loop_scope="module")
async def test_resuming_what_is_not_paused_says_so(shared_client: httpx2.AsyncClient) -> None:
    done = (await shared_client.patch("/pipelines/x", json={"state": "running"})).json()
    assert (done["success"], done["message"]) == (True, "it was not paused")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("route", "body", "said"),
    [
        ("squares", {"state": "asleep"}, "paused"),
        ("squares", {"state": "paused", "until": "later"}, "until"),
        ("squares", {"state": "paused", "reason": "x" * 1001}, "reason"),
        ("a%20route", {"state": "paused"}, "cannot be the name of a route"),
    ],
)
async def test_what_cannot_be_is_refused(
    shared_client: httpx2.AsyncClient, route: str, body: dict[str, Any], said: str
) -> None:
    answer = await shared_client.patch(f"/pipelines/{route}", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "invalid_request")
    assert said in answer.json()["detail"]
    assert (await routes(shared_client))["pauses"] == []


@pytest.mark.asyncio(loop_scope="module")
async def test_the_routes_of_nobody_are_not_found(shared_client: httpx2.AsyncClient) -> None:
    answer = await shared_client.get("/pipelines", params={"execution_id": "nobody"})
    assert answer.json()["error_code"] == "execution_not_found"


async def test_a_pause_shows_its_end_wherever_the_route_is_shown(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    until = "2999-03-01T09:30:00.000000+00:00"
    done = (await client.patch("/pipelines/squares", json=PAUSE | {"until": until})).json()
    assert done["pause"]["until"] == until
    execution = await start(client, numbers_yaml)
    for path, query in (
        ("/pipelines", {"execution_id": execution}),
        (f"/executions/{execution}", {}),
        (f"/executions/{execution}/routes", {}),
    ):
        answer = (await client.get(path, params=query)).json()
        found = {route["route_id"]: route for route in answer["routes"]}
        assert found["squares"]["pause"] == done["pause"]
        assert found["numbers"]["pause"] is None
        assert found["squares"]["concurrency"] >= 1
        assert (found["squares"]["held_back"], found["squares"]["breakers"]) == (None, [])
    await client.patch("/pipelines/squares", json={"state": "running"})
    await client.post(f"/executions/{execution}/wait", json={"timeout": 30})
    over = await client.patch("/pipelines/squares", json=PAUSE | {"until": "1999-01-01T00:00:00Z"})
    assert (over.status_code, over.json()["error_code"]) == (422, "invalid_request")


async def test_a_finished_execution_cannot_be_cancelled_and_says_how_it_ended(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    execution = await start(client, numbers_yaml)
    await client.post(f"/executions/{execution}/wait", json={"timeout": 30})
    answer = await client.post(f"/executions/{execution}/cancel", params={"grace_seconds": 0})
    assert (answer.status_code, answer.json()["error_code"]) == (409, "execution_state")
    assert "is completed" in answer.json()["detail"]


async def test_a_body_over_the_limit_has_a_code_of_its_own(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    stored = (await client.post("/configs", json={"config_yaml": numbers_yaml})).json()
    body = {"config_id": stored["id"], "init": {"long": "é" * (2 * 1024 * 1024)}}
    sent = json.dumps(body, ensure_ascii=False).encode()
    assert len(sent) > 4 * 1024 * 1024
    answer = await client.post(
        "/executions", content=sent, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (413, "body_too_large")
