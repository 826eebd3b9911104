"""A worker as a process of its own, the way a user has it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from factflow_testing.server_process import (
    IN_A_HURRY,
    LAST_WORDS_SECONDS,
    SERVER_MODULE,
    START_SECONDS,
    ServerDidNotStartError,
    environment,
    start_process,
)

_READY = re.compile(r"Factflow worker (\d+) takes messages of (.+)\n")


class WorkerProcess:
    """A worker that takes messages, as it says itself. Use it as a context manager."""

    def __init__(self, *arguments: str | Path, cwd: Path | None = None, **variables: str) -> None:
        self._said = tempfile.TemporaryFile(  # noqa: SIM115 - closed when the process is
            "w+", encoding="utf-8", errors="replace"
        )
        command = [*SERVER_MODULE, "worker", *map(str, arguments)]
        self._process = start_process(
            command, self._said, cwd, environment(**IN_A_HURRY, **variables)
        )
        self.pid = self._process.pid
        match = _READY.fullmatch(self._first_line())
        if match is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LAST_WORDS_SECONDS)
            code = self._process.poll()
            self.close()
            with self._said:
                raise ServerDidNotStartError(self.said(), code)

    @property
    def alive(self) -> bool:
        """Tell whether it has not ended."""
        return self._process.poll() is None

    def said(self) -> str:
        """Return everything it has said on stderr."""
        self._said.seek(0)
        return self._said.read()

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it as `kill -9` does; return its exit code, which is -9."""
        return self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it do nothing until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def wait_dead(self, seconds: float = 60.0) -> int:
        """Wait until it has ended by itself; return its exit code."""
        code = self._process.wait(seconds)
        self.close()
        return code

    def close(self) -> None:
        """Leave nothing of the process behind."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _first_line(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        return self._process.stdout.readline() if ready else ""

    def _end(self, number: int) -> int:
        self._process.send_signal(number)
        return self.wait_dead()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._said.close()
