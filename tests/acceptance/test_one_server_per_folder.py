"""One server works in a data folder at a time; a new one follows a dead one at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from factflow_testing.server_process import (
    ServerProcess,
    environment,
    run_command,
    serve_command,
    wait_until,
)

DIE_AND_LEAVE_A_WRITER = """
import os, sys
from factflow_infra.storage.data_lock import DataFolderLock
lock = DataFolderLock(sys.argv[1])
lock.acquire()
if os.fork() == 0:
    sys.stdin.read()      # a writer that outlives its server for a moment
    os._exit(0)
print("held", flush=True)
os.kill(os.getpid(), 9)
"""


@contextlib.contextmanager
def _started(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _has_opened(process: subprocess.Popen[str], file: Path) -> bool:
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if descriptor.readlink() == file:
                return True
    return False


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc here")
def test_a_server_follows_a_killed_one_although_its_writer_lives_a_moment_longer(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with _started(sys.executable, "-c", DIE_AND_LEAVE_A_WRITER, str(data)) as dead:
        assert dead.stdout is not None
        assert dead.stdin is not None
        assert dead.stdout.readline() == "held\n"
        assert dead.wait() == -signal.SIGKILL
        with _started(*serve_command("--data-dir", data)) as server:
            assert server.stdout is not None
            wait_until("it to wait", lambda: _has_opened(server, data / "factflow.lock"))
            assert server.poll() is None
            dead.stdin.close()  # and the writer ends
            assert server.stdout.readline().startswith("Factflow listening")
            assert (data / "factflow.lock").read_text() == f"{server.pid}\n"


@pytest.mark.long
def test_of_servers_started_at_the_same_instant_exactly_one_serves(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with contextlib.ExitStack() as stack:
        racers = [
            stack.enter_context(_started(*serve_command("--data-dir", data))) for _ in range(3)
        ]
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
