"""Executions are strangers: side by side they share a process and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from factflow_testing.server_process import ServerProcess, wait_until

CHILDREN = 20
GATED = f"""
version: "1.0"
name: gated
init_message: {{route: split, payload: {{}}}}
routes:
  split:
    inbound: {{queue: split}}
    adapters:
      - type: labelled_fan
        config: {{count: {CHILDREN}}}
      - type: gate
    outbound: count
  count:
    inbound: {{queue: count}}
    adapters:
      - type: echo
        config: {{fields: {{counted: true}}}}
"""
HANGING = """
version: "1.0"
name: hanging
init_message: {route: hang, payload: {n: 1}}
routes:
  hang:
    inbound: {queue: hang}
    adapters: [{type: hang}]
"""
ONE_EACH = """
version: "1.0"
name: one-each
init_message: {route: split, payload: {}}
routes:
  split:
    inbound: {queue: split}
    adapters: [{type: labelled_fan, config: {count: 3}}, {type: gate}, {type: echo}]
    outbound: add
  add:
    inbound: {queue: add}
    adapters: [{type: increment}]
"""


def _keys(row: dict[str, Any]) -> list[str]:
    return [row[name] for name in ("input_key", "output_key") if row[name]]


def _in_hand(server: ServerProcess, execution_id: str) -> int:
    """Return how many messages are being worked on."""
    routes = server.get(f"/executions/{execution_id}/routes")["routes"]
    return sum(int(route["in_progress"]) for route in routes)


def test_two_executions_of_one_config_at_the_same_time_share_no_message_key_or_row(
    server: ServerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    config = server.create(GATED)
    first, second = (server.run(config, gate=str(gate), label=label) for label in ("one", "two"))
    wait_until(
        "both executions to be in the middle",
        lambda: all(_in_hand(server, execution) for execution in (first, second)),
    )
    gate.touch()
    rows = {}
    for execution, label in ((first, "one"), (second, "two")):
        ended = server.end_of(execution)
        assert (ended["status"], ended["failed_count"]) == ("completed", 0)
        rows[execution] = server.rows(execution)
        assert len(rows[execution]) == 1 + 2 * CHILDREN
        _is_all_its_own(server, execution, label, rows[execution])
    for name in ("id", "message_id"):
        mine, others = ({row[name] for row in rows[execution]} for execution in (first, second))
        assert not mine & others
    # The same document has the same origin in every run; everything else differs.
    mine, others = ({row["origin_id"] for row in rows[execution]} for execution in (first, second))
    assert mine == others


def _is_all_its_own(
    server: ServerProcess, execution: str, label: str, rows: list[dict[str, Any]]
) -> None:
    folder = f"executions/{execution}/"
    assert {row["execution_id"] for row in rows} == {execution}
    assert all(key.startswith(folder) for row in rows for key in _keys(row))
    ids = {row["id"] for row in rows}
    assert all(row["parent_id"] is None or row["parent_id"] in ids for row in rows)
    stored = (server.data_dir / "storage" / folder).rglob("*.json")
    payloads = [
        json.loads(path.read_text()) for path in stored if not path.name.endswith(".meta.json")
    ]
    assert len(payloads) == 1 + 3 * CHILDREN  # init, and what three stages made of every child
    assert {payload["label"] for payload in payloads} == {label}
    counted = [payload["n"] for payload in payloads if payload.get("counted")]
    assert sorted(counted) == list(range(CHILDREN))


def test_twelve_at_once_all_complete(server: ServerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    config = server.create(ONE_EACH)
    twelve = [server.run(config, gate=str(gate), run=number) for number in range(12)]
    wait_until(
        "twelve executions to be in the middle",
        lambda: all(_in_hand(server, execution) for execution in twelve),
    )
    gate.touch()
    for execution in twelve:
        ended = server.end_of(execution)
        assert (ended["status"], ended["message_count"]) == ("completed", 7)
        added = server.rows(execution, stage="increment")
        assert sorted(json.loads(server.read(row["output_key"]))["n"] for row in added) == [1, 2, 3]


def test_one_execution_too_many_is_refused_with_what_to_do(strict_server: ServerProcess) -> None:
    config = strict_server.create(HANGING)
    hanging = [strict_server.run(config) for _ in range(2)]
    try:
        refused = strict_server.api.post(f"/configs/{config}/run")
        assert (refused.status_code, refused.json()["error_code"]) == (429, "too_many_executions")
        assert "2" in refused.json()["detail"]
        assert refused.json()["hint"]
        said = strict_server.cli("config", "run", config).refused(7)
        assert refused.json()["detail"] in said
        assert f"hint: {refused.json()['hint']}" in said
        listed = strict_server.get("/executions", status="running")
        assert {row["execution_id"] for row in listed["executions"]} == set(hanging)
        cancelled = strict_server.cli("execution", "cancel", hanging[0], "--grace", "0")
        assert cancelled.done()["current_status"] == "cancelled"
        hanging.append(strict_server.run(config))
    finally:
        for execution in hanging:
            strict_server.api.post(f"/executions/{execution}/cancel", json={"grace_seconds": 0})
