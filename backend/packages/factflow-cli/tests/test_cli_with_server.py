"""The whole way with the real server: run, find the failures, read what failed, replay."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factflow_cli.private_server import private_server

Run = Callable[..., Any]

ADAPTERS = '''
from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import AdapterResult, Emitted, register_adapter_type


@register_adapter_type("cli_numbers")
class Numbers:
    """Emits the numbers below the payload's `upto`."""

    def __init__(self, config: object) -> None:
        pass

    async def process(self, context):
        return AdapterResult(emitted=[Emitted({"n": n}, key=str(n)) for n in range(context.payload["upto"])])


@register_adapter_type("cli_square")
class Square:
    """Squares all numbers but 3."""

    def __init__(self, config: object) -> None:
        pass

    async def process(self, context):
        if context.payload["n"] == 3:
            raise PermanentError("3 is not squared")
        return AdapterResult({"n": context.payload["n"] ** 2})
'''

PIPELINE = """\
version: "1.0"
name: numbers
routes:
  numbers:
    inbound: {queue: numbers}
    adapters:
      - type: cli_numbers
      - type: cli_square
    outbound: squares
  squares:
    inbound: {queue: squares}
    adapters:
      - type: cli_square
        stage: again
init_message:
  route: numbers
  payload: {upto: 2}
"""


@pytest.fixture
def real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "cli_adapters.py").write_text(ADAPTERS)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    with private_server(["--adapters", str(tmp_path / "cli_adapters.py")]) as server:
        monkeypatch.setenv("FACTFLOW_SERVER_URL", server.url)
        yield


def test_a_failure_is_found_read_and_replayed(real_server: None, factflow: Run) -> None:
    failed = factflow("run", "p.yaml", "--init", "upto=6", "--tag", "first")
    assert failed.code == 1
    run = failed.json["execution_id"]
    assert factflow("execution", "get", "first").json["execution_id"] == run

    [failure] = factflow("lineage", "failures", "--execution", run).json["entries"]
    assert failure["error"]["type"] == "PermanentError"
    chain = factflow("lineage", "chain", failure["id"]).json
    assert [row["stage"] for row in chain["ancestors"]] == ["cli_numbers"]
    assert factflow("storage", "get", failure["input_key"]).json == {"n": 3}
    relative = failure["input_key"].removeprefix(f"executions/{run}/")
    assert factflow("storage", "get", "-e", "first", relative).json == {"n": 3}
    assert factflow("storage", "metadata", "-e", "first", relative).json["execution_id"] == run
    as_json = factflow("storage", "get", failure["input_key"], "--output", "json").json
    assert as_json["content"] == '{"n":3}'

    watched = factflow("storage", "watch", "--execution", "first", "--route", "numbers")
    outcomes = Counter(json.loads(line)["event"] for line in watched.text.splitlines())
    assert (watched.code, outcomes) == (0, {"fanned_out": 1, "stored": 5, "failed": 1})

    stats = factflow("execution", "stats", run).json["stages"]
    assert {stage["stage"]: stage["failed"] for stage in stats}["cli_square"] == 1
    replay = factflow("execution", "replay", run, "--from-stage", "cli_square", "--wait")
    assert replay.code == 1, "3 is still not squared"
    assert replay.json["parent_execution_id"] == run


def test_a_route_is_paused_across_executions_and_resumed(real_server: None, factflow: Run) -> None:
    paused = factflow("pipeline", "pause", "squares", "--reason", "being moved")
    assert (paused.code, paused.json["pause"]["reason"]) == (0, "being moved")
    config = factflow("config", "create", "-f", "p.yaml").json["id"]
    run = factflow("config", "run", config).json["execution_id"]
    assert factflow("--timeout", "1s", "execution", "wait", run).code == 4
    listed = factflow("pipeline", "list", "--execution", run).json
    states = {route["route_id"]: route["state"] for route in listed["routes"]}
    assert states == {"numbers": "running", "squares": "paused"}
    assert factflow("pipeline", "resume", "squares").json["executions"] == [run]
    assert factflow("execution", "wait", run).json["status"] == "completed"
    assert factflow("pipeline", "pause", "no route at all").code == 7


def test_configs_are_checked_stored_listed_and_run(real_server: None, factflow: Run) -> None:
    assert factflow("config", "validate", "p.yaml").code == 0
    config = factflow("config", "create", "-f", "p.yaml").json["id"]
    assert [found["id"] for found in factflow("config", "list").json["configs"]] == [config]
    run = factflow("config", "run", config).json["execution_id"]
    assert factflow("execution", "wait", run).json["status"] == "completed"
    assert len(factflow("execution", "dag", run).json["edges"]) == 1
    assert factflow("config", "delete", config).code == 0
    assert factflow("config", "run", config).code in {6, 7}
    assert factflow("execution", "cancel", run).code == 7
    assert factflow("system", "health").code == 0
    assert factflow("execution", "wait", "nobody").code == 6
