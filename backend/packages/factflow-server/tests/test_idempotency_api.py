"""Idempotency keys: one start for each, however often and from wherever it is asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from factflow_server.app import create_app
from factflow_server.settings import ServerSettings
from factflow_server.startup import running

BASE = "http://127.0.0.1:8000/api/v1"


async def stored(client: httpx2.AsyncClient, config_yaml: str) -> str:
    answer = await client.post("/configs", json={"config_yaml": config_yaml})
    return str(answer.json()["id"])


async def count(client: httpx2.AsyncClient) -> int:
    return int((await client.get("/executions")).json()["total"])


async def test_posts_at_the_same_time_start_one_execution(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    body = {"config_id": await stored(client, numbers_yaml), "idempotency_key": "nightly-1"}
    answers = await asyncio.gather(*(client.post("/executions", json=body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await count(client) == 1


async def test_the_header_the_body_and_both_ways_to_start_mean_one_key(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    config = await stored(client, numbers_yaml)
    key = {"Idempotency-Key": "one"}
    first = await client.post(f"/configs/{config}/run", json={"upto": 1}, headers=key)
    body: dict[str, Any] = {"config_id": config, "init": {"upto": 1}}
    second = await client.post("/executions", json=body, headers=key)
    third = await client.post("/executions", json=body | {"idempotency_key": "one"})
    assert [first.status_code, second.status_code, third.status_code] == [201, 200, 200]
    assert first.json()["id"] == second.json()["id"] == third.json()["id"]
    differing = await client.post(
        "/executions", json=body | {"idempotency_key": "two"}, headers=key
    )
    assert (differing.status_code, differing.json()["error_code"]) == (422, "invalid_request")


async def test_a_key_with_another_request_is_refused_under_its_own_code(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    body = {"config_id": await stored(client, numbers_yaml), "idempotency_key": "k"}
    first = (await client.post("/executions", json=body)).json()
    answer = await client.post("/executions", json=body | {"init": {"upto": 1}})
    assert (answer.status_code, answer.json()["error_code"]) == (409, "idempotency_key_reused")
    assert first["id"] in answer.json()["detail"]
    assert await count(client) == 1


async def test_a_key_outlives_the_server_and_the_config(
    settings: ServerSettings, numbers_yaml: str
) -> None:
    ids = []
    config = ""
    for restarted in (False, True):
        async with running(settings) as container:
            transport = httpx2.ASGITransport(app=create_app(container))
            async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
                config = config or await stored(client, numbers_yaml)
                if restarted:
                    assert (await client.delete(f"/configs/{config}")).status_code == 204
                body = {"config_id": config, "idempotency_key": "kept"}
                answer = await client.post("/executions", json=body)
                assert answer.status_code == (200 if restarted else 201)
                ids.append(answer.json()["id"])
    assert ids[0] == ids[1]


async def test_a_start_that_was_refused_leaves_its_key_free(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    config = await stored(client, numbers_yaml)
    taken = {"config_id": config, "tag": "mine"}
    assert (await client.post("/executions", json=taken)).status_code == 201
    key = {"Idempotency-Key": "again"}
    refused = await client.post("/executions", json=taken, headers=key)
    assert (refused.status_code, refused.json()["error_code"]) == (409, "tag_taken")
    free = await client.post("/executions", json=taken | {"tag": "other"}, headers=key)
    assert free.status_code == 201


async def test_a_replay_is_started_once_and_told_again(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    body = {"config_id": await stored(client, numbers_yaml), "trigger_context": {"cron": "02:00"}}
    source = (await client.post("/executions", json=body)).json()["id"]
    await client.post(f"/executions/{source}/wait")
    asked = {"from_stage": "numbers/square", "idempotency_key": "r1"}
    first = await client.post(f"/executions/{source}/replay", json=asked)
    again = await client.post(f"/executions/{source}/replay", json=asked)
    other_way = await client.post("/replay", json=asked | {"from_execution_id": source})
    assert [a.status_code for a in (first, again, other_way)] == [201, 200, 200]
    kept = ("id", "plan_hash", "selected", "not_selected", "entries", "objects_published")
    for name in kept:
        assert again.json()[name] == first.json()[name] == other_way.json()[name], name
    shown = (await client.get(f"/executions/{first.json()['id']}")).json()
    assert shown["idempotency_key"] == "r1"
    assert (await client.get(f"/executions/{source}")).json()["trigger_context"] == {
        "cron": "02:00"
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("key", ["", "with blank", "x" * 256])
async def test_a_key_that_cannot_be_one_is_refused(
    shared_client: httpx2.AsyncClient, key: str
) -> None:
    answer = await shared_client.post(
        "/executions", json={"config_id": "c", "idempotency_key": key}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (422, "invalid_request")
