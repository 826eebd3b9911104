"""What the API tells of executions: progress, graphs, rows by every filter, batches, audits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2

from factflow_server.settings import ServerSettings

BATCHES = """
version: "1.0"
init_message: {route: split, payload: {n: 0}}
routes:
  split:
    inbound: {queue: split}
    adapters:
      - {type: fan, config: {count: 8}}
      - {type: batch_double, batch: {size: 8, wait_ms: 50}, config: {poison: [5]}}
"""


async def _ended(client: httpx2.AsyncClient, config_yaml: str, **more: Any) -> str:
    stored = (await client.post("/configs", json={"config_yaml": config_yaml})).json()
    answer = await client.post("/executions", json={"config_id": stored["id"], **more})
    assert answer.status_code == 201, answer.text
    execution_id = str(answer.json()["execution_id"])
    waited = await client.post(f"/executions/{execution_id}/wait", json={"timeout": 30})
    assert waited.json()["completed"]
    return execution_id


async def _rows(client: httpx2.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/lineage", params=query)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["entries"]
    return entries


async def test_a_monitor_tells_all_in_one_call(
    client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    """Routes with pace, durations and failure share; sums that agree with them; the last failures."""
    execution = await _ended(client, numbers_yaml, init={"upto": 4})
    seen = (await client.get(f"/executions/{execution}/monitor")).json()
    assert (seen["execution"]["status"], seen["plan"], seen["eta_seconds"]) == (
        "failed",
        None,
        None,
    )
    numbers, squares = seen["routes"]
    assert (numbers["failed"], numbers["failure_share"]) == (1, 0.2), "1 of 4 and the first"
    assert squares["failure_share"] == 0
    for route in (numbers, squares):
        assert route["per_second"] > 0
        assert 0 < route["p50_ms"] <= route["p95_ms"]
    metrics = seen["metrics"]
    assert (metrics["completed"], metrics["failed"], metrics["queued"]) == (7, 1, 0)
    assert metrics["failure_share"] == 1 / 8
    assert [row["error"]["type"] for row in seen["failures"]] == ["PermanentError"]
    assert [edge["kind"] for edge in seen["dag"]["edges"]] == ["outbound"]
    assert (await client.get(f"/executions/{execution}/routes")).json()["routes"] == seen["routes"]


async def test_a_monitor_shows_what_is_in_hand(
    client: httpx2.AsyncClient, gated_yaml: str, tmp_path: Path
) -> None:
    """While it runs, and after a cancel."""
    stored = (await client.post("/configs", json={"config_yaml": gated_yaml})).json()
    started = (await client.post(f"/configs/{stored['id']}/run")).json()
    where = f"/executions/{started['id']}/monitor"
    async with asyncio.timeout(20):
        while not (seen := (await client.get(where)).json())["metrics"]["in_progress"]:
            pass  # each question gives the others their turn
    assert (seen["metrics"]["total_messages"], seen["metrics"]["failure_share"]) == (1, None)
    assert seen["failures"] == []
    (tmp_path / "open").touch()
    await client.post(f"/executions/{started['id']}/wait", json={"timeout": 30})
    assert (await client.get(where)).json()["metrics"]["completed"] == 1


async def test_a_graph_comes_as_text(client: httpx2.AsyncClient, numbers_yaml: str) -> None:
    """To read, and for programs that draw."""
    execution = await _ended(client, numbers_yaml)
    where = f"/executions/{execution}/dag"
    for form, begin in (("tree", "init -> "), ("mermaid", "flowchart"), ("dot", "digraph")):
        answer = await client.get(where, params={"format": form})
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text.startswith(begin)
    refused = await client.get(where, params={"format": "pdf"})
    assert refused.status_code == 422


async def test_rows_by_filters_and_cursor(client: httpx2.AsyncClient, numbers_yaml: str) -> None:
    """By outcome, by any metadata field, by time; page after page by cursor."""
    execution = await _ended(client, numbers_yaml, init={"upto": 5})
    await _ended(client, numbers_yaml)
    assert len(await _rows(client, outcome="fanned_out")) == 2
    failed = await _rows(client, execution_id=execution, error_type="PermanentError")
    assert [row["stage"] for row in failed] == ["square"]
    by_key = await _rows(client, where=f"input_key={failed[0]['input_key']}")
    assert [row["id"] for row in by_key] == [failed[0]["id"]]
    assert await _rows(client, started_after="2999-01-01") == []
    everything = [row["id"] for row in await _rows(client)]
    paged: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get("/lineage", params={"limit": 3, **cursor})).json()
        paged += [row["id"] for row in page["entries"]]
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert paged == everything
    for query in ({"cursor": "rubbish"}, {"where": "no condition"}, {"outcome": "done"}):
        refused = await client.get("/lineage", params=query)
        assert (refused.status_code, refused.json()["error_code"]) == (422, "invalid_request")


async def test_rows_of_a_batch_share_its_id_and_a_failed_one_is_told_apart(
    client: httpx2.AsyncClient, settings: ServerSettings
) -> None:
    """One row for each message; a batch that failed as a whole was halved until its culprit stood alone."""
    assert "factflow_testing.adapters" in settings.adapters
    execution = await _ended(client, BATCHES)
    rows = await _rows(client, execution_id=execution, stage="batch_double")
    assert len(rows) == 8
    batches: dict[str, int] = {}
    for row in rows:
        if row["outcome"] == "stored":
            batches[row["batch_id"]] = batches.get(row["batch_id"], 0) + 1
    assert sorted(batches.values()) == [1, 2, 4], "8 messages, in halves around the culprit"
    for batch, count in batches.items():
        shown = await _rows(client, batch_id=batch)
        assert len(shown) == count
        assert {row["batch_id"] for row in shown} == {batch}
    (failed,) = await _rows(client, execution_id=execution, status="failed")
    assert failed["error"]["type"] == "RuntimeError"
    assert (await client.get(f"/storage/objects/{failed['input_key']}")).json() == {"n": 5}


async def test_an_audit_over_http(client: httpx2.AsyncClient, numbers_yaml: str) -> None:
    """Clean at first; a row whose record was deleted is a gap, which a repair closes."""
    execution = await _ended(client, numbers_yaml, tag="audited")
    clean = (await client.get("/executions/audited/audit", params={"deep": True})).json()
    assert (clean["clean"], clean["records"], clean["execution_id"]) == (True, 5, execution)
    assert set(clean["counts"].values()) == {0}
    repaired = (await client.post("/executions/audited/audit/repair")).json()
    assert (repaired["clean"], repaired["rows_rebuilt"]) == (True, 0)
    streaming = {"Accept": "text/event-stream"}
    for method, where in (("GET", "audit"), ("POST", "audit/repair")):
        told = await client.request(method, f"/executions/audited/{where}", headers=streaming)
        assert told.headers["content-type"].startswith("text/event-stream")
        *_, last = [line for line in told.text.splitlines() if line.startswith("data: ")]
        assert json.loads(last.removeprefix("data: ")) == {**clean, "deep": False}
    unknown = await client.get("/executions/nobody/audit", headers=streaming)
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, "execution_not_found")
    await client.post("/executions/delete", json={"execution_ids": [execution]})
    gone = await client.get(f"/executions/{execution}/audit")
    assert (gone.status_code, gone.json()["error_code"]) == (410, "execution_deleted")
