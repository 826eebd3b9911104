"""Why, over HTTP: each subject by its own path, and whatever it is by the one that finds out."""

from __future__ import annotations

from typing import Any

import httpx2

from factflow_testing.waiting import eventually

PAUSE = {"state": "paused", "reason": "the model moves", "requested_by": "ada"}


async def answer_of(client: httpx2.AsyncClient, path: str, **query: str) -> dict[str, Any]:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_every_path_tells_of_the_same_pause(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    await client.patch("/pipelines/squares", json=PAUSE)
    stored = (await client.post("/configs", json={"config_yaml": numbers_yaml})).json()
    body = {"config_id": stored["id"], "tag": "nightly"}
    run = (await client.post("/executions", json=body)).json()["execution_id"]

    async def two_wait() -> dict[str, Any] | None:
        found = await answer_of(client, "/executions/nightly/why")
        cause = found["causes"][0]
        return found if (cause["route"], cause["count"]) == ("squares", 2) else None

    async def rows_of_both() -> list[dict[str, Any]] | None:
        found = await answer_of(client, "/lineage", stage="square", route_id="numbers")
        rows: list[dict[str, Any]] = found["entries"]
        return rows if [row["outcome"] for row in rows] == ["stored"] * 2 else None

    answer = await eventually(two_wait)
    assert (answer["kind"], answer["subject"], answer["status"]) == ("execution", run, "running")
    [pause] = answer["causes"][0]["because"]
    assert (pause["code"], pause["next"]) == ("paused", "factflow pipeline resume squares")
    assert pause["since"].endswith("+00:00")
    assert "paused by ada since" in pause["sentence"]
    route = await answer_of(client, "/pipelines/squares/why")
    assert (route["kind"], route["execution_id"]) == ("route", run)
    assert [cause["code"] for cause in route["causes"]] == ["paused"]
    within = await answer_of(client, "/why/squares", execution_id="nightly")
    assert within["causes"] == route["causes"]
    rows = await eventually(rows_of_both)
    message = await answer_of(client, f"/lineage/{rows[0]['id']}/why")
    assert (message["kind"], message["subject"]) == ("message", rows[0]["message_id"])
    assert message["causes"][0]["code"] == "waits_for_children"
    resolved = await answer_of(client, f"/why/{rows[0]['message_id']}")
    assert resolved["causes"] == message["causes"]
    assert (await answer_of(client, "/why/nightly"))["kind"] == "execution"
    await client.patch("/pipelines/squares", json={"state": "running"})
    await client.post("/executions/nightly/wait", json={"timeout": 30})
    done = await answer_of(client, "/why/nightly")
    assert [cause["code"] for cause in done["causes"]] == ["done"]


async def test_a_route_nobody_runs_is_told_when_it_is_paused(client: httpx2.AsyncClient) -> None:
    await client.patch("/pipelines/squares", json=PAUSE)
    route = await answer_of(client, "/why/squares")
    assert route["summary"] == "route squares runs in no execution now"
    assert [cause["code"] for cause in route["causes"]] == ["paused"]


async def test_what_is_not_known_is_404(client: httpx2.AsyncClient) -> None:
    expected = {
        "/why/nothing": "subject_not_found",
        "/executions/nothing/why": "execution_not_found",
        "/pipelines/nothing/why": "subject_not_found",
        "/lineage/nothing/why": "subject_not_found",
        "/why/nothing?execution_id=nobody": "execution_not_found",
    }
    for path, code in expected.items():
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error_code"]) == (404, code), path
