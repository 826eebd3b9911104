from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from factflow_server.api.schemas.replay import MOST_IDS
from factflow_testing.waiting import eventually


async def ended(client: httpx2.AsyncClient, execution_id: str) -> dict[str, Any]:
    await client.post(f"/executions/{execution_id}/wait", json={"timeout": 30})
    execution: dict[str, Any] = (await client.get(f"/executions/{execution_id}")).json()
    return execution


async def run_source(client: httpx2.AsyncClient, numbers_yaml: str) -> dict[str, Any]:
    """Run an execution of four numbers, of which the third fails at `square`."""
    config = (await client.post("/configs", json={"config_yaml": numbers_yaml})).json()
    body = {"config_id": config["id"], "init": {"upto": 4}, "tag": "source"}
    started = (await client.post("/executions", json=body)).json()
    return await ended(client, started["id"])


@pytest.fixture
async def source(client: httpx2.AsyncClient, numbers_yaml: str) -> dict[str, Any]:
    return await run_source(client, numbers_yaml)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def with_source(shared_client: httpx2.AsyncClient, numbers_yaml: str) -> httpx2.AsyncClient:
    """The shared server, in which there is a source to refuse replays of."""
    await run_source(shared_client, numbers_yaml)
    return shared_client


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
    held = {**source, "held_by": [replay["id"]]}  # the one thing of it that may change
    assert (await client.get("/executions/source")).json() == held


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


async def test_every_option_means_the_same_at_both_endpoints(
    client: httpx2.AsyncClient, source: dict[str, Any], numbers_yaml: str
) -> None:
    repair = {"only": "failed", "set": {"numbers.square.fail_on": 99}, "tag": "repair"}
    await ended(client, (await client.post("/executions/source/replay", json=repair)).json()["id"])
    rows = (await client.get("/lineage", params={"execution_id": source["id"]})).json()["entries"]
    squared = [row["id"] for row in rows if row["stage"] == "square"]
    config = {"config_yaml": numbers_yaml.replace("name: numbers", "name: edited")}
    edited = (await client.post("/configs", json=config)).json()["id"]
    expected = {
        (("from_stage", "numbers/square"),): 4,
        (("from_stage", "square"), ("to_route", "squares")): 3,
        (("from_stage", "square"), ("rerun", True)): 4,
        (("from_stage", "square"), ("only", "failed")): 1,
        (("only", "failed"),): 1,
        (("from_stage", "square"), ("with", ("repair",))): 4,
        (("from_stage", "square"), ("messages", tuple(squared[:2]))): 2,
        (("from_stage", "square"), ("where", ("status=completed", "outcome=stored"))): 3,
        (("from_stage", "square"), ("sample", 2)): 2,
        (("from_stage", "square"), ("set", (("numbers.square.fail_on", 1),))): 4,
        (("from_stage", "square"), ("config_id", edited)): 4,
    }
    for options, messages in expected.items():
        body = {**dict(options), "dry_run": True}
        if "set" in body:
            body["set"] = dict(body["set"])
        one = await client.post("/executions/source/replay", json=body)
        other = await client.post("/replay", json={**body, "from_execution_id": "source"})
        assert (one.status_code, other.status_code) == (200, 200), one.text
        assert one.json() == other.json()
        assert one.json()["objects_found"] == messages, options
    assert (await client.get("/executions")).json()["total"] == 2


async def test_artefacts_are_sent_to_another_route(
    client: httpx2.AsyncClient, source: dict[str, Any]
) -> None:
    body = {"from_stage": "again", "to_route": "squares"}
    replay = (await client.post("/executions/source/replay", json=body)).json()
    assert (replay["to_route"], replay["to_queue"]) == ("squares", "squares")
    execution = await ended(client, replay["id"])
    assert (execution["status"], execution["message_count"]) == ("completed", 3)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"from_stage": "nothing"}, 422, "stage_not_found"),
        ({"from_stage": "square", "to_route": "nowhere"}, 422, "route_not_found"),
        ({"from_stage": "again"}, 422, "replay_empty"),
        ({}, 422, "invalid_request"),
        ({"only": "broken"}, 422, "invalid_request"),
        ({"from_stage": "square", "to_route": "squares", "rerun": True}, 422, "invalid_request"),
        ({"from_stage": "square", "with": ["source"]}, 422, "not_a_replay"),
        ({"from_stage": "square", "with": ["nobody"]}, 404, "execution_not_found"),
        ({"from_stage": "square", "messages": ["x"]}, 422, "messages_not_found"),
        ({"from_stage": "square", "where": ["url"]}, 422, "invalid_request"),
        ({"from_stage": "square", "sample": 0}, 422, "invalid_request"),
        ({"from_stage": "square", "set": {"numbers.square.nope": 1}}, 422, "config_invalid"),
        ({"from_stage": "square", "set": {"numbers.nope.x": 1}}, 422, "stage_not_found"),
        ({"from_stage": "square", "config_id": "nobody"}, 404, "config_not_found"),
    ],
)
async def test_a_replay_that_cannot_be_is_refused(
    with_source: httpx2.AsyncClient, body: dict[str, Any], status: int, code: str
) -> None:
    refused = await with_source.post("/executions/source/replay", json=body)
    assert (refused.status_code, refused.json()["error_code"]) == (status, code)
    assert (await with_source.get("/executions")).json()["total"] == 1


async def test_a_dry_run_answers_with_the_plan_and_starts_nothing(
    client: httpx2.AsyncClient, source: dict[str, Any]
) -> None:
    body = {"only": "failed", "set": {"numbers.square.fail_on": 99}}
    answer = await client.post("/executions/source/replay", json={**body, "dry_run": True})
    assert answer.status_code == 200, answer.text
    plan = answer.json()
    assert (plan["dry_run"], plan["can_run"], plan["objects_found"]) == (True, True, 1)
    assert plan["entries"] == [
        {"route": "numbers", "stage": "square", "queue": "numbers", "messages": 1}
    ]
    assert [stage["stage"] for stage in plan["stages"]] == ["square", "again"]
    assert plan["config_differences"] == [
        {
            "path": "routes.numbers.adapters.square.config.fail_on",
            "kind": "changed",
            "old": 3,
            "new": 99,
        }
    ]
    assert (await client.get("/executions")).json()["total"] == 1
    same = {**body, "from_execution_id": "source", "dry_run": True}
    assert (await client.post("/replay", json=same)).json() == plan
    replay = (await client.post("/executions/source/replay", json=body)).json()
    assert replay["plan_hash"] == plan["plan_hash"]
    assert (await ended(client, replay["id"]))["status"] == "completed"


async def test_repairs_go_on_with_the_results_and_are_compared(
    client: httpx2.AsyncClient, source: dict[str, Any]
) -> None:
    repair = {"only": "failed", "set": {"numbers.square.fail_on": 99}, "tag": "repair"}
    await ended(client, (await client.post("/executions/source/replay", json=repair)).json()["id"])
    body = {"from_stage": "square", "with": ["repair"], "tag": "whole"}
    whole = (await client.post("/executions/source/replay", json=body)).json()
    assert whole["selected"]["after_stage"] == 4
    assert (await ended(client, whole["id"]))["status"] == "completed"

    tree = (await client.get("/executions/repair/tree")).json()
    assert (tree["execution_id"], [r["tag"] for r in tree["replays"]]) == (
        source["id"],
        ["repair", "whole"],
    )
    diff = (await client.get("/executions/source/diff/whole", params={"stage": "again"})).json()
    assert (diff["same"], diff["stages"][0]["same"], diff["stages"][0]["only_b"]) == (False, 3, 1)
    (change,) = diff["changes"]
    assert (change["kind"], change["a"], change["b"]["outcome"]) == ("only_b", None, "stored")
    itself = (await client.get("/executions/whole/diff/whole", params={"content": "true"})).json()
    assert (itself["same"], itself["changes"]) == (True, [])
    assert (await client.get("/executions/source/diff/nobody")).status_code == 404
    unknown = await client.get("/executions/source/diff/whole", params={"stage": "nope"})
    assert unknown.json()["error_code"] == "stage_not_found"


async def test_a_running_replay_tells_how_much_of_its_plan_is_published(
    client: httpx2.AsyncClient, gated_yaml: str, tmp_path: Path
) -> None:
    (tmp_path / "open").touch()
    config = (await client.post("/configs", json={"config_yaml": gated_yaml})).json()
    source = (await client.post("/executions", json={"config_id": config["id"]})).json()
    assert (await ended(client, source["id"]))["plan"] is None
    (tmp_path / "open").unlink()
    body = {"from_stage": "gate", "rerun": True}
    replay = (await client.post(f"/executions/{source['id']}/replay", json=body)).json()

    async def is_published() -> bool:
        answer = (await client.get(f"/executions/{replay['id']}")).json()
        return bool(answer["plan"] == {"published": 1, "planned": 1})

    await eventually(is_published)
    (tmp_path / "open").touch()
    assert (await ended(client, replay["id"]))["plan"] is None


async def test_a_damaged_record_of_the_source_refuses_the_replay_and_is_named(
    client: httpx2.AsyncClient, source: dict[str, Any], tmp_path: Path
) -> None:
    stage = tmp_path / "data" / "storage" / "executions" / source["id"] / "numbers" / "square"
    record = min(stage.glob("*.meta.json"))
    record.write_text('{"route": "num')
    for body in ({"from_stage": "square"}, {"from_stage": "square", "dry_run": True}):
        refused = await client.post("/executions/source/replay", json=body)
        answer = refused.json()
        assert (refused.status_code, answer["error_code"]) == (409, "record_damaged")
        assert record.name.partition(".")[0] in answer["detail"]
        assert "restore it" in answer["hint"]
    assert (await client.get("/executions")).json()["total"] == 1
    assert [path.name for path in stage.parents[2].iterdir()] == [source["id"]]


@pytest.mark.asyncio(loop_scope="module")
async def test_as_many_ids_as_are_allowed_fit_into_a_request(
    with_source: httpx2.AsyncClient,
) -> None:
    named = [f"{number:032x}" for number in range(MOST_IDS)]
    body = {"from_stage": "square", "messages": named}
    refused = await with_source.post("/executions/source/replay", json=body)
    assert refused.json()["error_code"] == "messages_not_found"
    more = await with_source.post(
        "/executions/source/replay", json={**body, "messages": [*named, "one more"]}
    )
    assert more.json()["error_code"] == "invalid_request"
    assert "100000" in more.text


@pytest.mark.asyncio(loop_scope="module")
async def test_a_replay_of_nobody_is_not_found(with_source: httpx2.AsyncClient) -> None:
    refused = await with_source.post("/executions/nobody/replay", json={"from_stage": "square"})
    assert (refused.status_code, refused.json()["error_code"]) == (404, "execution_not_found")
