"""`kill -9` in the middle of a run: nothing stored is lost or replaced, and the work is finished."""

from __future__ import annotations

import contextlib
import json
import signal
from collections import Counter
from pathlib import Path

import httpx2
import pytest

from factflow_testing.server_process import ServerProcess, manifest, wait_until

CHILDREN = 40
ONE_OF_EACH = Counter(range(1, CHILDREN + 1))
PIPELINE = f"""
version: "1.0"
name: fanning
init_message: {{route: split, payload: {{}}}}
routes:
  split:
    inbound: {{queue: split}}
    adapters:
      - type: labelled_fan
        config: {{count: {CHILDREN}, stamped: true}}
      - type: stamp
    outbound: add
  add:
    inbound: {{queue: add}}
    adapters:
      - type: increment
"""
OFTEN = ["storage.record.after:70"]
RARELY = [
    "queue.settle.before:3",
    "storage.artefact.after:17",
    "storage.record.before:23",
    "queue.settle.after:2",
    "queue.publish.after:1",
    "storage.artefact.before:2",
    "storage.artefact.after:2",
    "storage.artefact.after:60",
    "storage.artefact.after:100",
    "storage.record.before:2",
    "storage.record.before:60",
    "storage.record.after:2",
    "storage.record.after:82",
    "queue.settle.before:1",
    "queue.settle.after:1",
    "queue.settle.after:3",
    "queue.publish.before:1",
]


@pytest.mark.long
@pytest.mark.parametrize(
    "point", [*OFTEN, *(pytest.param(point, marks=pytest.mark.long) for point in RARELY)]
)
def test_a_killed_run_keeps_what_it_stored_and_goes_on_to_its_end(
    tmp_path: Path, adapters: tuple[str, ...], point: str
) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, *adapters, FACTFLOW_CRASH_POINT=point) as server:
        config = server.create(PIPELINE)
        with contextlib.suppress(httpx2.TransportError):  # it may die before it has answered
            server.run(config)
        assert server.wait_dead() == -signal.SIGKILL, f"{point} was never reached"
    stored = manifest(data)
    with ServerProcess(data, *adapters) as server:
        [source] = (row["execution_id"] for row in server.get("/executions")["executions"])
        _goes_on_to_its_end(server, source)
        _is_as_it_was(stored, server)
        options = ("--from-stage", "labelled_fan", "--wait")
        replay = server.cli("execution", "replay", source, *options).done()
        assert (replay["status"], replay["failed_count"]) == ("completed", 0)
        assert _results(server, replay["execution_id"]) == ONE_OF_EACH
        _is_as_it_was(stored, server)


def _goes_on_to_its_end(server: ServerProcess, source: str) -> None:
    wait_until(
        "the execution to go on by itself and complete",
        lambda: server.get(f"/executions/{source}")["status"] == "completed",
    )
    assert server.get(f"/executions/{source}")["failed_count"] == 0
    assert _results(server, source) == ONE_OF_EACH
    wait_until(
        "lineage to be filled from the records",
        lambda: len(server.rows(source, status="completed")) == 1 + 2 * CHILDREN,
    )


def _results(server: ServerProcess, execution: str) -> Counter[int]:
    """Return the numbers that came out at the end, by the records: only what these name counts."""
    folder = server.data_dir / "storage" / "executions" / execution / "add" / "increment"
    records = [json.loads(path.read_text()) for path in folder.glob("*.meta.json")]
    return Counter(json.loads(server.read(record["output_key"]))["n"] for record in records)


def _is_as_it_was(stored: dict[str, str], server: ServerProcess) -> None:
    """Fail when anything stored before the kill is gone or has become something else."""
    now = server.manifest()
    assert {path: now.get(path) for path in stored} == stored
