"""What tests fork is what they would have started."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from factflow_testing.forked_process import ForkedProcess, can_fork
from factflow_testing.server_process import (
    SERVER_MODULE,
    Finished,
    ServerProcess,
    environment,
    run_command,
    wait_until,
)

TELLS = """
import atexit, gc, json, locale, os, random, signal, sys, threading, time

print(json.dumps({
    "arguments": sys.argv[1:],
    "folder": os.getcwd(),
    "path": sys.path,
    "environment": dict(os.environ),
    "time": time.tzname,
    "encodings": [sys.stdout.encoding, sys.stderr.encoding, locale.getencoding()],
    "buffered": [sys.stdout.line_buffering, sys.stderr.line_buffering],
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "signals": [str(signal.getsignal(number)) for number in range(1, 32)],
    "masked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "threads": threading.active_count(),
    "collects": [gc.isenabled(), gc.get_threshold()],
    "group": os.getpgrp(),
    "user": [os.getuid(), os.getgid(), os.umask(0o22)],
}))
print(sys.stdin.read())
atexit.register(print, "at exit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("last thread"))).start()
"""
STARTS_A_FORK_SERVER = """
import sys
from factflow_testing import forked_process
print(forked_process._line()._process.pid, flush=True)
sys.stdin.read()
"""


def command(
    *arguments: str, cwd: Path, stdin: str | None = None, variables: dict[str, str] | None = None
) -> Finished:
    return run_command(*SERVER_MODULE, *arguments, cwd=cwd, stdin=stdin, variables=variables)


def test_that_it_finds_what_it_would_find_if_it_were_started_and_ends_like_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tells.py").write_text(TELLS)
    ended = []
    for fork in ("1", "0"):
        monkeypatch.setenv("FACTFLOW_TEST_FORK", fork)
        assert can_fork(environment()) is (fork == "1")
        ended.append(
            command(
                *["validate", "nothing.yaml", "--adapters", "tells"],
                cwd=tmp_path,
                stdin="given",
                variables={"FACTFLOW_SECRET": "s", "TZ": "Asia/Tokyo"},
            )
        )
    forked, started = ended
    assert forked == started
    assert "module 'tells' holds no adapter" in forked.err
    assert forked.code == 2
    assert "given" in forked.out
    assert forked.out.endswith("last thread\nat exit\n")


def test_that_a_wrong_command_ends_as_it_says(tmp_path: Path) -> None:
    assert "unrecognized" in command("serve", "--wrong", cwd=tmp_path).err
    assert command("serve", "--wrong", cwd=tmp_path).code == 2
    assert command("--help", cwd=tmp_path).code == 0


def test_that_what_it_raises_is_told_as_python_does(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text("class Own(BaseException): pass\nraise Own('words')")
    ended = command("validate", "n.yaml", "--adapters", "raises", cwd=tmp_path)
    assert ended.code == 1
    assert ended.err.endswith("raises.Own: words\n")


def test_that_modules_of_one_test_are_not_those_of_another(tmp_path: Path) -> None:
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "own.py").write_text(f"print('{name}')")
        assert command("validate", "n.yaml", "--adapters", "own", cwd=folder).out == f"{name}\n"


def test_that_its_end_by_a_signal_is_told(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server, ServerProcess(tmp_path / "other") as other:
        assert isinstance(server._process, ForkedProcess)
        assert server._process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            server._process.wait(0.01)
        assert server.kill() == -signal.SIGKILL
        assert server._process.poll() == -signal.SIGKILL
        assert other.stop() == 0


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONWARNINGS", "LC_ALL", "NO_COLOR"])
def test_that_a_process_is_started_when_what_it_reads_first_differs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert can_fork(environment())
    assert not can_fork(environment(**{name: "other"}))
    monkeypatch.setenv(name, "other")  # of this process, too; not of the fork server any more
    assert not can_fork(environment())


def test_that_it_does_not_outlive_the_tests() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_A_FORK_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        tests.kill()
    wait_until("the end of the fork server", lambda: not Path(f"/proc/{pid}").exists())
