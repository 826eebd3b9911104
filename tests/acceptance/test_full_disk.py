"""A disk that is full or read-only is nobody's failure: all waits, says why, and goes on by itself."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from factflow_testing.postgres_schemas import needs_file
from factflow_testing.server_process import ServerProcess, run_command, serve_command, wait_until
from factflow_testing.small_disk import small_disk

pytestmark = needs_file

COUNT = 40
PIPELINE = f"""
version: "1.0"
name: gated
error_handling: {{max_retries: 3, retry_delay_seconds: 0}}
init_message: {{route: split, payload: {{}}}}
routes:
  split:
    inbound: {{queue: split}}
    adapters:
      - type: labelled_fan
        config: {{count: {COUNT}}}
    outbound: work
  work:
    inbound: {{queue: work, concurrency: 8}}
    adapters:
      - type: gate
      - type: stamp
    outbound: last
  last:
    inbound: {{queue: last}}
    adapters: [{{type: echo}}]
"""
ROWS = 1 + 3 * COUNT


def _at_the_gate(server: ServerProcess, gate: Path) -> tuple[str, str]:
    """Start an execution whose messages wait; return its config and its id."""
    config = server.create(PIPELINE)
    execution = server.run(config, gate=str(gate))
    wait_until(
        "messages to wait",
        lambda: any(row["stage"] == "gate" for row in server.rows(execution)),
    )
    return config, execution


def _health(server: ServerProcess, part: str) -> tuple[str, str]:
    components = server.get("/system/health")["components"]
    found: dict[str, Any] = next(one for one in components if one["name"] == part)
    return found["status"], found["message"]


def _waits_saying(server: ServerProcess, part: str, words: str) -> None:
    wait_until(f"{part} to say {words!r}", lambda: words in _health(server, part)[1])
    assert _health(server, part)[0] == "degraded"


def _completes_as_if_nothing_had_happened(server: ServerProcess, execution: str) -> None:
    ended = server.end_of(execution)
    assert (ended["status"], ended["failed_count"]) == ("completed", 0)
    assert ended["message_count"] == 1 + 2 * COUNT
    wait_until("lineage to be whole", lambda: len(server.rows(execution)) == ROWS)
    rows = server.rows(execution)
    assert {(row["status"], row["attempts"]) for row in rows} == {("completed", 1)}
    wait_until("all to be well", lambda: server.get("/system/health")["status"] == "healthy")


def test_a_full_disk_holds_all_and_costs_no_message_and_no_attempt(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    with (
        small_disk(tmp_path / "disk") as disk,
        ServerProcess(disk.root / "data", *adapters) as server,
    ):
        config, execution = _at_the_gate(server, gate)
        disk.fill()
        gate.touch()
        _waits_saying(server, "orchestrator", f"{execution}/work: the disk that holds")
        said = server.cli("system", "health")
        assert said.code == 11
        assert "is full" in str(said.json)
        assert server.get(f"/executions/{execution}")["status"] == "running"
        assert server.rows(execution, status="failed") == []
        _nothing_new_can_start(server, config, gate)
        disk.free()
        _completes_as_if_nothing_had_happened(server, execution)
        disk.fill()
        _no_replay_can_start(server, execution)
        disk.free()
        again = server.cli(
            "execution", "replay", execution, "--from-stage", "gate", "--wait"
        ).done()
        assert again["status"] == "completed"


@pytest.mark.long
def test_a_server_stops_in_time_on_a_full_disk_and_the_next_one_goes_on(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    with small_disk(tmp_path / "disk") as disk:
        with ServerProcess(disk.root / "data", *adapters) as server:
            _, execution = _at_the_gate(server, gate)
            disk.fill()
            gate.touch()
            _waits_saying(server, "orchestrator", "is full")
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 15, "it does not wait for room"
        disk.free()
        with ServerProcess(disk.root / "data", *adapters) as server:
            _completes_as_if_nothing_had_happened(server, execution)


def _nothing_new_can_start(server: ServerProcess, config: str, gate: Path) -> None:
    before = _executions(server)
    answer = server.api.post(f"/configs/{config}/run", json={"init": {"gate": str(gate)}})
    assert (answer.status_code, answer.json()["error_code"]) == (503, "storage_unavailable")
    assert "is full" in answer.json()["detail"]
    assert _executions(server) == before, "neither a row nor a folder is left behind"
    answer = server.api.post("/configs", json={"config_yaml": PIPELINE})
    assert (answer.status_code, answer.json()["error_code"]) == (503, "database_unavailable")
    assert "disk is full" in answer.json()["detail"]
    assert "free some space" in answer.json()["hint"]


def _no_replay_can_start(server: ServerProcess, execution: str) -> None:
    before = _executions(server)
    err = server.cli("execution", "replay", execution, "--from-stage", "gate").refused(8)
    assert "is full" in err
    assert _executions(server) == before


def _executions(server: ServerProcess) -> tuple[Any, list[str]]:
    folders = (server.data_dir / "storage" / "executions").iterdir()
    return server.get("/executions")["total"], sorted(folder.name for folder in folders)


@pytest.mark.long
def test_with_room_for_artefacts_only_queue_and_lineage_wait_alike(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    with (
        small_disk(tmp_path / "disk") as disk,
        small_disk(disk.root / "data" / "storage"),
        ServerProcess(disk.root / "data", *adapters) as server,
    ):
        _, execution = _at_the_gate(server, gate)
        disk.fill()
        gate.touch()
        _waits_saying(
            server, "orchestrator", "queue.db cannot be used now: database or disk is full"
        )
        _waits_saying(server, "lineage", "disk is full")
        disk.free()
        _completes_as_if_nothing_had_happened(server, execution)


@pytest.mark.long
def test_a_final_status_is_written_once_there_is_room(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    """Locked lineage holds the end back for two seconds: time to fill the disk just before it."""
    gate = tmp_path / "gate"
    with (
        small_disk(tmp_path / "disk") as disk,
        ServerProcess(disk.root / "data", *adapters) as server,
    ):
        _, execution = _at_the_gate(server, gate)
        lineage = sqlite3.connect(server.data_dir / "lineage.db", isolation_level=None)
        lineage.execute("BEGIN IMMEDIATE")
        gate.touch()
        wait_until("all to have settled", lambda: _is_closing(server, execution))
        disk.fill()
        _waits_saying(server, "database", f"{execution}: database or disk is full")
        assert server.get(f"/executions/{execution}")["status"] == "running"
        lineage.execute("ROLLBACK")
        lineage.close()
        disk.free()
        _completes_as_if_nothing_had_happened(server, execution)


def _is_closing(server: ServerProcess, execution: str) -> bool:
    """Tell whether every message has settled: then the routes are brought to rest."""
    routes = server.get(f"/executions/{execution}/routes")["routes"]
    return all(route["state"] == "stopped" for route in routes)


@pytest.mark.long
def test_a_server_does_not_start_on_a_full_disk_and_says_so(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    with small_disk(tmp_path / "disk") as disk:
        with ServerProcess(disk.root / "data", *adapters) as server:
            _, execution = _at_the_gate(server, gate)
            server.kill()
        disk.fill()
        for folder in ("data", "new"):
            err = run_command(*serve_command("--data-dir", disk.root / folder)).refused(2)
            assert "full" in err or "No space left" in err
            assert "space" in err.partition("hint: ")[2]
        disk.free()
        gate.touch()
        with ServerProcess(disk.root / "data", *adapters) as server:
            _completes_as_if_nothing_had_happened(server, execution)


@pytest.mark.long
def test_a_store_that_turns_read_only_is_waited_for(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    data = tmp_path / "data"
    with small_disk(data / "storage") as disk, ServerProcess(data, *adapters) as server:
        config, execution = _at_the_gate(server, gate)
        disk.read_only()
        gate.touch()
        _waits_saying(server, "orchestrator", "is on a read-only file system")
        answer = server.api.post(f"/configs/{config}/run", json={"init": {"gate": str(gate)}})
        assert (answer.status_code, answer.json()["error_code"]) == (503, "storage_unavailable")
        assert server.get("/executions")["total"] == 1
        disk.writable()
        _completes_as_if_nothing_had_happened(server, execution)


@pytest.mark.long
def test_a_store_that_may_not_be_written_is_waited_for(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    with ServerProcess(tmp_path / "data", *adapters, under=_without_rights_over_files()) as server:
        _, execution = _at_the_gate(server, gate)
        folder = server.data_dir / "storage" / "executions" / execution
        folder.chmod(0o500)  # no folder of a further stage can be made
        gate.touch()
        _waits_saying(server, "orchestrator", "access is denied")
        folder.chmod(0o700)
        _completes_as_if_nothing_had_happened(server, execution)


@pytest.mark.long
def test_a_server_does_not_start_on_a_read_only_folder_and_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        disk.read_only()
        err = run_command(*serve_command("--data-dir", disk.root / "data")).refused(2)
        assert "Read-only file system" in err
        assert "mount it writable" in err
        assert list(disk.root.iterdir()) == []
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    command = [*_without_rights_over_files(), *serve_command("--data-dir", folder)]
    err = run_command(*command).refused(2)
    assert f"{folder} cannot be used: Permission denied" in err
    assert list(folder.iterdir()) == []


def _without_rights_over_files() -> list[str]:
    """Return what to put before a command, so that the modes of files count for it even as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to take that from it")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
