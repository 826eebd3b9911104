"""The loop an adapter's author lives in: run, edit, be told to restart, see the new code at work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factflow_testing.server_process import Finished, ServerProcess, cli

ADAPTER = '''
from factflow_protocols.pipeline import AdapterResult, PipelineContext, register_adapter_type


@register_adapter_type("greeter")
class Greeter:
    """Greets."""

    def __init__(self, config):
        pass

    async def process(self, context: PipelineContext) -> AdapterResult:
        return AdapterResult({"said": f"Hello, {context.payload['name']}"})
'''
PIPELINE = """
version: "1.0"
name: greetings
init_message: {route: greet, payload: {name: Ada}}
routes:
  greet:
    inbound: {queue: names}
    adapters:
      - {type: echo, stage: before}
      - {type: greeter}
"""
ADAPTERS = ("--adapters", "factflow_testing.adapters", "my_adapters")


def _greeting(server: ServerProcess, finished: Finished) -> tuple[str, str, str]:
    """Return what was said by a run that completed, the adapter's version then, and the execution."""
    ended = finished.done()
    assert ended["status"] == "completed"
    execution = str(ended["execution_id"])
    [key] = (row["output_key"] for row in server.rows(execution, stage="greeter"))
    said = json.loads(server.read(key))["said"]
    record: dict[str, Any] = server.cli("storage", "metadata", key).done()
    assert record["adapter"] == "greeter"
    return said, record["adapter_version"], execution


def _says_restart(err: str) -> None:
    assert "my_adapters.py" in err
    assert "greeter" in err
    assert "restart" in err
    assert "--loaded-code" in err


@pytest.mark.long
def test_an_edited_adapter_is_noticed_and_takes_effect_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "my_adapters.py"
    file.write_text(ADAPTER)
    pipeline = tmp_path / "greetings.yaml"
    pipeline.write_text(PIPELINE)
    data = tmp_path / ".factflow"
    with ServerProcess(data, *ADAPTERS, cwd=tmp_path) as server:
        said, first_version, source = _greeting(server, server.cli("run", pipeline))
        assert said == "Hello, Ada"

        file.write_text(ADAPTER.replace("Hello", "Good evening"))
        total = server.get("/executions")["total"]
        again = ("execution", "replay", source, "--from-stage", "before")
        _says_restart(server.cli("run", pipeline).refused(7))
        _says_restart(server.cli(*again).refused(7))
        answer = server.api.post(f"/executions/{source}/replay", json={"from_stage": "before"})
        assert (answer.status_code, answer.json()["error_code"]) == (409, "code_changed")
        assert server.get("/executions")["total"] == total
        assert {
            adapter["type"]
            for adapter in server.get("/adapters")["adapters"]
            if adapter["changed_on_disk"]
        } == {"greeter"}

        loaded = server.cli(*again, "--loaded-code", "--wait")
        assert _greeting(server, loaded)[:2] == ("Hello, Ada", first_version)
        assert server.stop() == 0
    with ServerProcess(data, *ADAPTERS, cwd=tmp_path) as server:
        said, second_version, _ = _greeting(server, server.cli(*again, "--wait"))
        assert said == "Good evening, Ada"
        assert second_version != first_version
        # What the old code made stands as it was.
        key = next(row["output_key"] for row in server.rows(source, stage="greeter"))
        assert json.loads(server.read(key))["said"] == "Hello, Ada"


def test_an_edit_that_does_not_load_keeps_the_server_from_starting_and_says_where(
    tmp_path: Path,
) -> None:
    (tmp_path / "my_adapters.py").write_text(ADAPTER + "\ndef broken(:\n")
    options = ("--adapters", "my_adapters", "--data-dir", tmp_path / "data", "--port", "0")
    err = cli("serve", *options, cwd=tmp_path).refused(2)
    assert "my_adapters.py, line 15" in err
