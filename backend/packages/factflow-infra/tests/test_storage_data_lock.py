"""One live server per data folder, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factflow_infra.storage.data_lock import (
    DataFolderLock,
    DataFolderLockedError,
    DataFolderUnwritableError,
)

_HOLD = """
import sys
from factflow_infra.storage.data_lock import DataFolderLock
lock = DataFolderLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
lock.release()
"""

_HOLD_WITH_WRITER = """
import os, sys
from factflow_infra.storage.data_lock import DataFolderLock
lock = DataFolderLock(sys.argv[1])
lock.acquire()
if os.fork() == 0:
    sys.stdin.read()      # the writer ends when its pipe does
    os._exit(0)
print("held", flush=True)
os.kill(os.getpid(), 9)
"""

Holder = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    """Start a process that holds the folder; its standard input ends it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def no_waiting(_: float) -> None:
    raise AssertionError("waited for a live process")


def test_live_holder_is_named_and_not_waited_for(tmp_path: Path, holder: Holder) -> None:
    process = holder(_HOLD)
    with pytest.raises(DataFolderLockedError, match=f"process {process.pid}") as caught:
        DataFolderLock(tmp_path, pause=no_waiting).acquire()
    assert caught.value.pid == process.pid
    assert caught.value.code == "data_dir_locked"
    assert "--data-dir" in caught.value.hint


def test_folder_is_free_after_a_clean_end(tmp_path: Path, holder: Holder) -> None:
    process = holder(_HOLD)
    process.communicate()
    with DataFolderLock(tmp_path, pause=no_waiting):
        pass


def test_folder_is_free_after_kill_9(tmp_path: Path, holder: Holder) -> None:
    process = holder(_HOLD)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with DataFolderLock(tmp_path, pause=no_waiting) as lock:
        assert (tmp_path / "factflow.lock").read_text() == f"{os.getpid()}\n"
        assert lock.fileno() > 2


def test_writer_of_a_dead_server_is_waited_for(tmp_path: Path, holder: Holder) -> None:
    process = holder(_HOLD_WITH_WRITER)
    process.wait()
    pauses = 0

    def pause(_: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 1 and process.stdin is not None:
            process.stdin.close()
        time.sleep(0)

    with DataFolderLock(tmp_path, wait_seconds=60, pause=pause):
        assert pauses >= 1


def test_writer_that_does_not_end_is_refused_after_the_wait(tmp_path: Path, holder: Holder) -> None:
    process = holder(_HOLD_WITH_WRITER)
    process.wait()
    with pytest.raises(DataFolderLockedError) as caught:
        DataFolderLock(tmp_path, wait_seconds=0.01).acquire()
    assert caught.value.pid == process.pid


def test_second_lock_in_one_process_is_refused(tmp_path: Path) -> None:
    with (
        DataFolderLock(tmp_path),
        pytest.raises(DataFolderLockedError, match=f"process {os.getpid()}"),
    ):
        DataFolderLock(tmp_path, pause=no_waiting).acquire()


def test_lock_can_be_taken_again_after_release(tmp_path: Path) -> None:
    lock = DataFolderLock(tmp_path / "new" / "folder")
    for _ in range(2):
        lock.acquire()
        with pytest.raises(RuntimeError, match="held already"):
            lock.acquire()
        lock.release()
        lock.release()


def test_folder_that_cannot_be_made_is_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFolderUnwritableError, match="cannot be used") as caught:
        DataFolderLock(tmp_path / "file" / "data").acquire()
    assert caught.value.code == "data_dir_unwritable"
    assert "--data-dir" in caught.value.hint


def test_read_only_folder_is_unwritable(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(DataFolderUnwritableError, match="Permission denied"):
        DataFolderLock(tmp_path).acquire()
