"""A server that dies while it deletes leaves what the next one, or the same command, finishes."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import httpx2
import pytest

from factflow_testing.crash_matrix import DELETION_POINTS
from factflow_testing.server_process import ServerProcess

OPTIONS = ("--adapters", "factflow_testing.adapters")
PIPELINE = """
version: "1.0"
routes:
  up:
    inbound: {queue: up}
    adapters: [{type: fan, config: {count: 300}}, {type: echo}]
init_message: {route: up}
"""
QUICK = {"storage.delete.after"}


@pytest.mark.parametrize("kind", ["all", "artefacts"])
@pytest.mark.parametrize("store", ["file", "packed"])
@pytest.mark.parametrize("point", DELETION_POINTS)
@pytest.mark.long
def test_the_next_server_finishes_what_a_dead_one_began(
    tmp_path: Path, point: str, store: str, kind: str
) -> None:
    check(tmp_path, point, store, kind)


@pytest.mark.parametrize("point", sorted(QUICK))
def test_the_next_server_goes_on_deleting(tmp_path: Path, point: str) -> None:
    check(tmp_path, point, "file", "all")


def check(folder: Path, point: str, store: str, kind: str) -> None:
    """Kill a server at a point of a deletion; fail unless all that was to go has gone in the end."""
    data = folder / "data"
    options = (*OPTIONS, "--storage-uri", f"{store}://{data / 'storage'}")
    with ServerProcess(data, *options, FACTFLOW_CRASH_POINT=point) as server:
        config = server.create(PIPELINE)
        doomed, other = server.run(config), server.run(config)
        for execution in (doomed, other):
            assert server.end_of(execution)["status"] == "completed"
        with contextlib.suppress(httpx2.TransportError):  # it may die before it has answered
            server.api.delete(
                f"/executions/{doomed}", params={"artefacts_only": kind == "artefacts"}
            )
        assert server.wait_dead() == -signal.SIGKILL
    with ServerProcess(data, *options) as server:
        if point == "deletion.enter.before":
            assert server.get(f"/executions/{doomed}")["deletion"] is None
            again = ["--artefacts-only"] if kind == "artefacts" else []
            assert server.cli("execution", "delete", doomed, "--yes", *again).code == 0
        done = server.get(f"/executions/{doomed}/deletion", wait=30)
        assert (done["state"], done["objects"]) == ("deleted", 1 + 300 + 300 + (kind == "all"))
        listed = server.api.get("/storage/objects", params={"execution_id": doomed})
        lineage = server.api.get("/lineage", params={"execution_id": doomed})
        if kind == "all":
            assert [listed.status_code, lineage.status_code] == [410, 410]
            assert not [path for path in data.rglob(f"*{doomed}*") if path.name != "factflow.db"]
        else:
            assert [
                found["key"].rpartition("/")[2][-16:] for found in listed.json()["objects"]
            ] == ["~children-1.json"]
            assert lineage.json()["total"] == 301
        assert len(server.rows(other)) == 301
        assert server.get("/storage/objects", execution_id=other, count=True)["total"] == 602
