"""A process made by the fork server, with the part of `subprocess.Popen` that tests use."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

BEFORE_IMPORTS = (
    *("PYTHON", "LD_", "GLIBC_", "MALLOC", "ASAN", "COVERAGE", "LANG", "LC_", "OPENSSL_"),
    *("FORCE_COLOR", "NO_COLOR", "PYDANTIC_", "OTEL_PROPAGATORS"),
)
"""Beginnings of variables that are read when the interpreter starts, or when modules are imported."""
NOTHING = "/"
"""A folder that has no modules: what is imported ahead comes from no test's own."""


def can_fork(environment: Mapping[str, str]) -> bool:
    """Tell whether a process with this environment is the same, forked or started."""
    if os.environ.get("FACTFLOW_TEST_FORK") == "0" or not sys.platform.startswith("linux"):
        return False
    return _before_imports(environment) == _line().before_imports


class ForkedProcess:
    """What `python -m factflow_server ARGUMENTS` is; without a file for it, `stdout` is read as text."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path | None,
        env: Mapping[str, str],
        stderr: IO[Any],
        stdin: IO[Any] | None = None,
        stdout: IO[Any] | None = None,
    ) -> None:
        request = {
            "arguments": list(arguments),
            "folder": str((cwd or Path.cwd()).absolute()),
            "environment": dict(env),
        }
        self.stdout: IO[str] | None = None
        with contextlib.ExitStack() as theirs:
            given = stdin or theirs.enter_context(Path(os.devnull).open("rb"))
            if stdout is None:
                reading, writing = os.pipe()
                stdout = theirs.enter_context(os.fdopen(writing, "wb"))
                self.stdout = os.fdopen(reading, encoding="utf-8")
            self._report, report = os.pipe()
            theirs.callback(os.close, report)
            streams = [file.fileno() for file in (given, stdout, stderr)]
            socket.send_fds(_line().socket, [json.dumps(request).encode()], [*streams, report])
        self._told = b""
        self.returncode: int | None = None
        self.pid = self._number(None)

    def poll(self) -> int | None:
        """Return how it ended, None when it has not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self.returncode = self._number(timeout)
            os.close(self._report)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _number(self, timeout: float | None) -> int:
        """Return the next that is told of it."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._told:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not select.select([self._report], [], [], left)[0]:
                raise subprocess.TimeoutExpired("forked process", timeout or 0.0)
            some = os.read(self._report, 100)
            if not some:
                raise AssertionError("the fork server has died")
            self._told += some
        line, _, self._told = self._told.partition(b"\n")
        return int(line)


def _before_imports(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if name.startswith(BEFORE_IMPORTS)}


class _Line:
    """The connection to this process's fork server, which ends with it."""

    def __init__(self) -> None:
        self.before_imports = _before_imports(os.environ)
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "factflow_testing.fork_server", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # no terminal: what is forked writes to pipes and files
                cwd=NOTHING,
                pass_fds=(theirs.fileno(),),
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self.socket.close()
        self._process.wait(10)


@functools.cache
def _line() -> _Line:
    return _Line()
