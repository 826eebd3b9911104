"""Lineage never stands in the way: its database locked, deleted or damaged, messages flow all the same."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factflow_testing.server_process import ServerProcess, wait_until

COUNT = 30
PIPELINE = f"""
version: "1.0"
name: plain
init_message: {{route: r, payload: {{}}}}
routes:
  r:
    inbound: {{queue: q}}
    adapters:
      - type: labelled_fan
        config: {{count: {COUNT}}}
      - type: stamp
"""
ROWS = 1 + COUNT


def _run(server: ServerProcess) -> str:
    execution = server.run(server.create(PIPELINE))
    ended = server.end_of(execution)
    assert (ended["status"], ended["failed_count"]) == ("completed", 0)
    return execution


def _lineage(server: ServerProcess) -> dict[str, Any]:
    components = server.get("/system/health")["components"]
    found: dict[str, Any] = next(part for part in components if part["name"] == "lineage")
    return found


def _filled(server: ServerProcess, *executions: str) -> None:
    for execution in executions:
        wait_until(
            f"the lineage of {execution} to be made from its records",
            lambda execution=execution: (  # type: ignore[misc]
                len(server.rows(execution, status="completed")) == ROWS
            ),
        )
    wait_until("health to say so", lambda: _lineage(server)["status"] == "healthy")


@contextlib.contextmanager
def _locked(database: Path) -> Iterator[None]:
    other = sqlite3.connect(database, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def _without_log(data: Path) -> Path:
    """Return the database's file, with all that stood in its log."""
    with contextlib.closing(sqlite3.connect(data / "lineage.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return data / "lineage.db"


@pytest.mark.long
def test_a_locked_database_delays_its_rows_and_no_message(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    with ServerProcess(tmp_path / "data", *adapters) as server:
        with _locked(server.data_dir / "lineage.db"):
            execution = _run(server)
            wait_until("the lock to show", lambda: "locked" in _lineage(server)["message"])
            assert _lineage(server)["status"] == "degraded"
            assert server.get(f"/executions/{execution}")["status"] == "completed"
        _filled(server, execution)


@pytest.mark.long
def test_a_deleted_database_is_made_anew_with_the_rows_of_all_executions(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    """Those of executions that ended before this server started, too."""
    data = tmp_path / "data"
    with ServerProcess(data, *adapters) as server:
        old = _run(server)
        server.stop()
    with ServerProcess(data, *adapters) as server:
        before = _run(server)
        for path in data.glob("lineage.db*"):
            path.unlink()
        after = _run(server)
        _filled(server, old, before, after)


@pytest.mark.long
def test_a_damaged_database_is_set_aside_and_made_anew_from_the_records(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, *adapters) as server:
        old = _run(server)
        server.stop()
    _without_log(data).write_bytes(b"no database" * 999)
    with ServerProcess(data, *adapters) as server:
        new = _run(server)
        _filled(server, old, new)
        assert (data / "lineage.db.damaged").read_bytes() == b"no database" * 999


@pytest.mark.long
def test_a_database_that_is_damaged_while_it_is_used_is_set_aside_as_well(
    tmp_path: Path, adapters: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, *adapters) as server:
        old = _run(server)
        server.stop()
    database = _without_log(data)
    whole = database.read_bytes()
    database.write_bytes(whole[:4096] + b"\x7f" * (len(whole) - 4096))  # all but the first page
    with ServerProcess(data, *adapters) as server:
        new = _run(server)
        _filled(server, old, new)
        assert (data / "lineage.db.damaged").exists()
