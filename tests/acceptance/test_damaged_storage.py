"""Files in the store that lost their bytes: one message pays for one file, and says which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factflow_testing.server_process import ServerProcess, wait_until

COUNT = 8
STAGE = "work/stamp"
PIPELINE = f"""
version: "1.0"
name: gated
init_message: {{route: split, payload: {{}}}}
routes:
  split:
    inbound: {{queue: split}}
    adapters:
      - type: labelled_fan
        config: {{count: {COUNT}}}
    outbound: work
  work:
    inbound: {{queue: work, concurrency: {COUNT}}}
    adapters:
      - type: stamp
      - type: gate
"""


def _stopped_at_the_gate(data: Path, adapters: tuple[str, ...], gate: Path) -> tuple[str, Path]:
    """Kill a server whose messages all passed `stamp` and wait in `gate`; return execution, folder."""
    with ServerProcess(data, *adapters) as server:
        execution = server.run(server.create(PIPELINE), gate=str(gate))
        stamped = server.data_dir / "storage" / "executions" / execution / "work" / "stamp"
        wait_until(
            "every message to be stamped",
            lambda: len(list(stamped.glob("*.meta.json"))) == COUNT,
        )
        server.kill()
    gate.touch()
    return execution, stamped


def _failures(server: ServerProcess, execution: str) -> list[dict[str, Any]]:
    return server.rows(execution, status="failed")


def test_an_empty_record_counts_as_not_written_and_its_stage_runs_again(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    """What a loss of power leaves of a record that was not written out: a name without bytes."""
    data = tmp_path / "data"
    execution, stamped = _stopped_at_the_gate(data, adapters, tmp_path / "gate")
    emptied, *kept = sorted(stamped.glob("*.meta.json"))
    before = [path.read_bytes() for path in kept]
    stamp = json.loads(
        (stamped / json.loads(emptied.read_bytes())["output_key"].rpartition("/")[2]).read_bytes()
    )
    emptied.write_bytes(b"")
    with ServerProcess(data, *adapters) as server:
        assert server.end_of_resumed(execution)["status"] == "completed"
        assert [path.read_bytes() for path in kept] == before
        record = json.loads(emptied.read_bytes())
        assert record["outcome"] == "stored"
        again = json.loads(server.read(record["output_key"]))
        assert again["n"] == stamp["n"]
        assert again["stamped"] != stamp["stamped"]
        assert record["output_key"].endswith("~2.json"), "the first artefact is left alone"


@pytest.mark.long
def test_a_record_that_cannot_be_read_fails_its_message_and_no_other(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    execution, stamped = _stopped_at_the_gate(data, adapters, tmp_path / "gate")
    damaged = min(stamped.glob("*.meta.json"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    key = f"executions/{execution}/{STAGE}/{damaged.name.removesuffix('.meta.json')}"
    with ServerProcess(data, *adapters) as server:
        ended = server.end_of_resumed(execution)
        assert (ended["status"], ended["failed_count"]) == ("failed", 1)
        assert len(server.rows(execution, stage="gate", status="completed")) == COUNT - 1
        assert damaged.read_bytes() == whole[: len(whole) // 2], "nothing stored is replaced"
        [failure] = _failures(server, execution)
        assert key in failure["error"]["message"]
        shown = server.cli("lineage", "failures", "--execution", execution).done()
        assert json.dumps(shown).count("RecordDamagedError") >= 1
        err = server.cli("storage", "metadata", key).refused(7)
        assert key in err
        answer = server.api.get(f"/storage/metadata/{key}")
        assert (answer.status_code, answer.json()["error_code"]) == (409, "record_damaged")
        server.kill()
    for name in ("lineage.db", "lineage.db-wal", "lineage.db-shm"):
        (data / name).unlink(missing_ok=True)
    with ServerProcess(data, *adapters) as server:
        wait_until(
            "lineage to be made from the records",
            lambda: len(server.rows(execution)) == 2 * COUNT,
        )
        assert [row["id"] for row in _failures(server, execution)] == [failure["id"]]
        again = server.cli("execution", "replay", execution, "--only", "failed", "--wait").done()
        assert again["status"] == "completed"
        assert len(server.rows(again["execution_id"], stage="gate")) == 1


@pytest.mark.long
def test_reading_a_damaged_record_is_refused_until_it_is_restored(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with ServerProcess(tmp_path / "data", *adapters) as server:
        config = server.create(PIPELINE)
        one, two = (server.run(config, gate=str(gate)) for _ in range(2))
        assert [server.end_of(execution)["status"] for execution in (one, two)] == ["completed"] * 2
        folder = server.data_dir / "storage" / "executions" / one / "work" / "stamp"
        damaged = min(folder.glob("*.meta.json"))
        whole = damaged.read_bytes()
        damaged.write_bytes(b"{}")
        key = f"executions/{one}/{STAGE}/{damaged.name.removesuffix('.meta.json')}"
        count = server.get("/executions")["total"]
        for command in (
            ("execution", "replay", one, "--from-stage", "stamp"),
            ("execution", "replay", one, "--from-stage", "stamp", "--dry-run"),
            ("execution", "diff", one, two),
        ):
            err = server.cli(*command).refused(7)
            assert key in err
            assert "restore it from a copy, or delete it" in err
        assert server.get("/executions")["total"] == count, "a refused replay leaves none behind"
        damaged.write_bytes(whole)
        replay = server.cli("execution", "replay", one, "--from-stage", "stamp", "--wait").done()
        assert replay["status"] == "completed"
        assert len(server.rows(replay["execution_id"], stage="gate")) == COUNT


@pytest.mark.long
def test_an_artefact_that_lost_bytes_fails_its_own_message_with_the_reason(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    execution, stamped = _stopped_at_the_gate(data, adapters, tmp_path / "gate")
    empty, short, *_ = sorted(path for path in stamped.glob("*.json") if ".meta." not in path.name)
    empty.write_bytes(b"")
    short.write_bytes(short.read_bytes()[:-3])
    with ServerProcess(data, *adapters) as server:
        ended = server.end_of_resumed(execution)
        assert (ended["status"], ended["failed_count"]) == ("failed", 2)
        failures = _failures(server, execution)
        assert {row["stage"] for row in failures} == {"gate"}
        assert {row["error"]["type"] for row in failures} == {"ObjectDamagedError"}
        said = " ".join(row["error"]["message"] for row in failures)
        assert empty.name in said
        assert short.name in said
        assert len(server.rows(execution, stage="gate", status="completed")) == COUNT - 2
