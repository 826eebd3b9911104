from __future__ import annotations

from typing import Any

import httpx2


async def create(client: httpx2.AsyncClient, config_yaml: str, **more: Any) -> dict[str, Any]:
    answer = await client.post("/configs", json={"config_yaml": config_yaml, **more})
    assert answer.status_code == 201, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


async def test_a_config_is_created_read_edited_and_deleted(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    stored = await create(client, numbers_yaml, description="squares", source_path="n.yaml")
    assert (stored["name"], stored["version"], stored["is_runnable"]) == ("numbers", 1, True)
    path = f"/configs/{stored['id']}"
    assert (await client.get(path)).json() == stored
    edited = await client.put(path, json={"config_yaml": numbers_yaml + "# edited\n"})
    assert edited.status_code == 200
    assert edited.json()["version"] == 2
    assert edited.json()["config_hash"] != stored["config_hash"]
    assert (await client.get("/configs")).json()["total"] == 1
    assert (await client.delete(path)).status_code == 204
    assert (await client.get("/configs")).json()["configs"] == []
    assert (await client.get("/configs", params={"active": "all"})).json()["total"] == 1
    gone = await client.post(f"{path}/run")
    assert (gone.status_code, gone.json()["error_code"]) == (409, "config_inactive")


async def test_listing_goes_by_pages(client: httpx2.AsyncClient, numbers_yaml: str) -> None:
    ids = [(await create(client, numbers_yaml, name=f"n{n}"))["id"] for n in range(3)]
    page = (await client.get("/configs", params={"limit": 2})).json()
    assert [config["id"] for config in page["configs"]] == [ids[2], ids[1]]
    assert (page["total"], page["limit"], page["offset"], page["has_more"]) == (3, 2, 0, True)
    assert "config_yaml" not in page["configs"][0]


async def test_an_invalid_config_is_stored_but_does_not_run(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    stored = await create(client, numbers_yaml.replace("count_up", "count_upp"))
    assert not stored["is_runnable"]
    issue = stored["validation_report"]["issues"][0]
    assert (issue["severity"], issue["code"], issue["line"]) == ("error", "E103", 7)
    refused = await client.post(f"/configs/{stored['id']}/run")
    assert (refused.status_code, refused.json()["error_code"]) == (422, "config_invalid")
    assert refused.json()["issues"][0]["code"] == "E103"
    assert (await client.get("/executions")).json()["total"] == 0


async def test_yaml_that_does_not_parse_is_refused_with_its_line(
    client: httpx2.AsyncClient,
) -> None:
    refused = await client.post("/configs", json={"config_yaml": "routes: [\n"})
    assert (refused.status_code, refused.json()["error_code"]) == (400, "config_invalid")
    assert refused.json()["issues"][0]["line"] is not None


async def test_validation_answers_200_for_anything(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    for text, valid in ((numbers_yaml, True), ("routes: [", False), ("", False)):
        answer = await client.post("/configs/validate", json={"config_yaml": text})
        assert answer.status_code == 200
        assert answer.json()["is_valid"] is valid
    assert (await client.get("/configs", params={"active": "all"})).json()["total"] == 0


async def test_an_unknown_config_is_not_found(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    for answer in (
        await client.get("/configs/nobody"),
        await client.put("/configs/nobody", json={"config_yaml": numbers_yaml}),
        await client.delete("/configs/nobody"),
        await client.post("/configs/nobody/run"),
    ):
        assert (answer.status_code, answer.json()["error_code"]) == (404, "config_not_found")
        assert answer.json()["hint"]
