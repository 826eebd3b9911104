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
from typing import IO

BEFORE_IMPORTS = ("PYTHON", "LD_", "MALLOC", "COVERAGE", "ASAN")
"""Beginnings of variables that matter before anything is imported."""


def can_fork(environment: Mapping[str, str]) -> bool:
    """Tell whether a process with this environment is the same, forked or started."""
    if os.environ.get("FACTFLOW_TEST_FORK") == "0" or not sys.platform.startswith("linux"):
        return False
    names = {name for name in {*environment, *os.environ} if name.startswith(BEFORE_IMPORTS)}
    return all(environment.get(name) == os.environ.get(name) for name in names)


class ForkedProcess:
    """What `python -m factflow_server ARGUMENTS` is; `stdout` is read as text."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stderr: IO[str],
        cwd: Path | None,
        env: Mapping[str, str],
    ) -> None:
        reading, writing = os.pipe()
        self._report, report = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        request = {
            "arguments": list(arguments),
            "folder": str(cwd or Path.cwd()),
            "environment": dict(env),
        }
        try:
            socket.send_fds(
                _fork_server(),
                [json.dumps(request).encode()],
                [nothing, writing, stderr.fileno(), report],
            )
        finally:
            for descriptor in (nothing, writing, report):
                os.close(descriptor)
        self.stdout: IO[str] = os.fdopen(reading, encoding="utf-8")
        self._said = b""
        self.returncode: int | None = None
        self.pid = int(self._line(None))

    def poll(self) -> int | None:
        """Return how it ended, None when it has not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self.returncode = int(self._line(timeout))
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

    def _line(self, timeout: float | None) -> bytes:
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._said:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not select.select([self._report], [], [], left)[0]:
                raise subprocess.TimeoutExpired("forked process", timeout or 0.0)
            some = os.read(self._report, 100)
            if not some:
                raise AssertionError("the fork server has died")
            self._said += some
        line, _, self._said = self._said.partition(b"\n")
        return line


@functools.cache
def _fork_server() -> socket.socket:
    """Return the socket to this process's fork server, started at first use."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "factflow_testing.fork_server", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours
