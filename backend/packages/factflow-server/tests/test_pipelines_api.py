"""Routes are paused and resumed by name, whatever runs them."""

from __future__ import annotations

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
    assert await routes(client) == {"total": 0, "routes": [], "pauses": []}


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


async def test_resuming_what_is_not_paused_says_so(client: httpx2.AsyncClient) -> None:
    done = (await client.patch("/pipelines/x", json={"state": "running"})).json()
    assert (done["success"], done["message"]) == (True, "it was not paused")


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
    client: httpx2.AsyncClient, route: str, body: dict[str, Any], said: str
) -> None:
    answer = await client.patch(f"/pipelines/{route}", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "invalid_request")
    assert said in answer.json()["detail"]
    assert (await routes(client))["pauses"] == []


async def test_the_routes_of_nobody_are_not_found(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/pipelines", params={"execution_id": "nobody"})
    assert answer.json()["error_code"] == "execution_not_found"
