"""Deleting, and looking at what takes the space, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx2

from factflow_server.settings import ServerSettings


async def run(client: httpx2.AsyncClient, config_yaml: str, **more: Any) -> str:
    stored = (await client.post("/configs", json={"config_yaml": config_yaml})).json()
    body = {"config_id": stored["id"], **more}
    execution = (await client.post("/executions", json=body)).json()
    await client.post(f"/executions/{execution['id']}/wait", json={"timeout": 30})
    return str(execution["id"])


async def get(client: httpx2.AsyncClient, path: str, **query: Any) -> Any:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_deleted_execution_says_so_everywhere(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    execution = await run(client, numbers_yaml, tag="monday")
    key = (await get(client, "/storage/objects", execution_id=execution))["objects"][-1]["key"]
    answer = await client.delete("/executions/monday")
    assert answer.status_code == 202, answer.text
    assert answer.json()["execution_id"] == execution
    done = await get(client, f"/executions/{execution}/deletion", wait=30)
    assert (done["state"], done["step"], done["tag"]) == ("deleted", "done", "monday")
    assert (await client.delete(f"/executions/{execution}")).json() == done
    detail = await get(client, f"/executions/{execution}")
    assert detail["deletion"]["deleted_at"] == done["deleted_at"]
    assert (detail["status"], detail["message_count"], detail["tag"]) == ("completed", 5, None)
    assert detail["routes"] == []
    for path, query in {
        "/storage/objects": {"execution_id": execution},
        "/storage/archive": {"execution_id": execution},
        "/lineage": {"execution_id": execution},
        f"/executions/{execution}/diff/{execution}": {},
        f"/executions/{execution}/stats": {},
        f"/storage/objects/{key}": {},
    }.items():
        refused = await client.get(path, params=query)
        assert (refused.status_code, refused.json()["error_code"]) == (410, "execution_deleted")
        assert f"was deleted on {done['deleted_at'][:10]}" in refused.json()["detail"]
    replay = {"from_stage": "square"}
    for body in (replay, replay | {"dry_run": True}):
        refused = await client.post(f"/executions/{execution}/replay", json=body)
        assert (refused.status_code, refused.json()["error_code"]) == (410, "execution_deleted")
    assert (await get(client, "/executions"))["total"] == 0
    (shown,) = (await get(client, "/executions", deleted=True))["executions"]
    assert shown["deletion"]["state"] == "deleted"


async def test_what_cannot_be_deleted_is_refused(
    client: httpx2.AsyncClient, gated_yaml: str, numbers_yaml: str
) -> None:
    stored = (await client.post("/configs", json={"config_yaml": gated_yaml})).json()
    running = (await client.post("/executions", json={"config_id": stored["id"]})).json()["id"]
    answer = await client.delete(f"/executions/{running}")
    assert (answer.status_code, answer.json()["error_code"]) == (409, "execution_state")
    source = await run(client, numbers_yaml, init={"upto": 4})
    body = {"from_stage": "count_up"}
    replay = (await client.post(f"/executions/{source}/replay", json=body)).json()["id"]
    await client.post(f"/executions/{replay}/wait", json={"timeout": 30})
    answer = await client.delete(f"/executions/{source}")
    assert (answer.status_code, answer.json()["error_code"]) == (409, "execution_held")
    assert replay in answer.json()["detail"]
    some = {"execution_ids": [source, running], "dry_run": True}
    chosen = await client.post("/executions/delete", json=some)
    assert chosen.status_code == 200, chosen.text
    by_id = {one["execution_id"]: one["refused"] for one in chosen.json()["executions"]}
    assert by_id[source]["held_by"] == [replay]
    assert by_id[running]["code"] == "execution_state"
    for wrong in ({}, {"execution_ids": ["a"], "more": 1}, {"statuses": ["running"]}):
        assert (await client.post("/executions/delete", json=wrong)).status_code == 422
    assert (await client.delete("/executions/nobody")).status_code == 404
    assert (await client.get(f"/executions/{source}/deletion")).status_code == 409
    await client.post(f"/executions/{running}/cancel", json={"grace_seconds": 0})
    done = await client.post("/executions/delete", json={"statuses": ["failed", "cancelled"]})
    assert done.status_code == 202
    assert (done.json()["accepted"], done.json()["refused"], done.json()["more"]) == (3, 0, False)


async def test_pages_follow_each_other_without_a_count(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    execution = await run(client, numbers_yaml, init={"upto": 5, "fail": False})
    whole = await get(client, "/storage/objects", execution_id=execution)
    keys = [found["key"] for found in whole["objects"]]
    assert (whole["total"], whole["has_more"], whole["next_cursor"]) == (len(keys), False, None)
    seen: list[str] = []
    query: dict[str, Any] = {"execution_id": execution, "limit": 4}
    while True:
        page = await get(client, "/storage/objects", **query)
        assert page["total"] is None
        seen += [found["key"] for found in page["objects"]]
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == keys
    counted = await get(
        client, "/storage/objects", execution_id=execution, limit=2, offset=3, count=True
    )
    assert (counted["total"], counted["has_more"]) == (len(keys), True)
    assert [found["key"] for found in counted["objects"]] == keys[3:5]


async def test_the_tree_of_keys_is_shown_a_level_at_a_time(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    execution = await run(client, numbers_yaml)
    folder = f"executions/{execution}/"
    top = await get(client, "/storage/browse")
    assert [entry["key"] for entry in top["entries"]] == ["executions/"]
    level = await get(client, "/storage/browse", execution_id=execution)
    assert level["prefix"] == folder
    shown = [(e["kind"], e["key"], e["objects"], e["complete"]) for e in level["entries"]]
    assert shown == [
        ("object", f"{folder}_init.json", 1, True),
        ("prefix", f"{folder}numbers/", 4, True),
        ("prefix", f"{folder}squares/", 2, True),
    ]
    first = await get(client, "/storage/browse", prefix=folder, limit=2)
    assert first["has_more"]
    rest = await get(client, "/storage/browse", prefix=folder, limit=2, cursor=first["next_cursor"])
    assert first["entries"] + rest["entries"] == level["entries"]
    hostile = await client.get("/storage/browse", params={"prefix": "../.."})
    assert (hostile.status_code, hostile.json()["error_code"]) == (422, "key_refused")


async def test_what_takes_the_space_is_told_by_size(
    client: httpx2.AsyncClient, numbers_yaml: str, settings: ServerSettings
) -> None:
    small = await run(client, numbers_yaml)
    large = await run(client, numbers_yaml, init={"upto": 9, "fail": False})
    report = await get(client, "/system/storage", wait=30)
    assert report["complete"]
    assert [one["execution_id"] for one in report["executions"]] == [large, small]
    assert report["executions"][1]["objects"] == 7
    assert report["executions"][0]["deletable"]
    assert report["disk_bytes"] == sum(one["disk_bytes"] for one in report["executions"])
    assert report["disk_total"] > report["disk_free"] > 0
    own = {"queue.db", "lineage.db"} | ({"factflow.db"} if settings.database_url is None else set())
    assert own == {f["name"] for f in report["databases"]}
    await client.delete(f"/executions/{large}")
    await get(client, f"/executions/{large}/deletion", wait=30)
    left = await get(client, "/system/storage", limit=1, refresh=True, wait=30)
    assert [one["execution_id"] for one in left["executions"]] == [small]
    assert left["total"] == 1
