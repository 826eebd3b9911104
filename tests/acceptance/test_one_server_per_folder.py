"""One server works in a data folder at a time; a new one follows a dead one at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factflow_testing.server_process import (
    ServerProcess,
    environment,
    run_command,
    serve_command,
)

HOLD_FOR_A_MOMENT = """
import os, sys, time
from factflow_infra.storage.data_lock import DataFolderLock
lock = DataFolderLock(sys.argv[1])
lock.acquire()
if os.fork() == 0:
    time.sleep(float(sys.argv[2]))      # a writer that outlives its server for a moment
    os._exit(0)
print("held", flush=True)
os.kill(os.getpid(), 9)
"""


@contextlib.contextmanager
def _server_that_died(data: Path, writer_lives: float) -> Iterator[None]:
    command = [sys.executable, "-c", HOLD_FOR_A_MOMENT, str(data), str(writer_lives)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert process.wait() == -signal.SIGKILL
        yield


@pytest.mark.long
def test_a_server_follows_a_killed_one_although_its_writer_lives_a_moment_longer(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    began = time.monotonic()
    with _server_that_died(data, writer_lives=1.5), ServerProcess(data) as server:
        assert time.monotonic() - began >= 1.5, "the writer was waited for"
        assert server.get("/system/health")["status"] == "healthy"
        assert (data / "factflow.lock").read_text() == f"{server.pid}\n"


def test_of_servers_started_at_the_same_instant_exactly_one_serves(tmp_path: Path) -> None:
    data = tmp_path / "data"
    racers = [
        subprocess.Popen(
            serve_command("--data-dir", data),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for _ in range(3)
    ]
    try:
        refused = [racer for racer in racers if _was_refused(racer)]
        [winner] = [racer for racer in racers if racer not in refused]
        for racer in refused:
            assert racer.returncode == 3
            assert racer.stderr is not None
            said = racer.stderr.read()
            assert f"in use by process {winner.pid}" in said
            assert "Traceback" not in said
        winner.send_signal(signal.SIGTERM)
        assert winner.wait(60) == 0
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


def _was_refused(racer: subprocess.Popen[str]) -> bool:
    """Wait until a server listens or has ended; tell whether it ended."""
    assert racer.stdout is not None
    said = racer.stdout.readline()
    if said.startswith("Factflow listening"):
        return False
    racer.wait(60)
    return True


@pytest.mark.long
def test_the_folder_of_a_stopped_process_is_not_taken(tmp_path: Path) -> None:
    """A server that was suspended is alive: nothing takes its folder from it."""
    data = tmp_path / "data"
    with ServerProcess(data) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            err = run_command(*serve_command("--data-dir", data)).refused(3)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert f"in use by process {server.pid}" in err
        assert server.get("/system/health")["status"] == "healthy"
