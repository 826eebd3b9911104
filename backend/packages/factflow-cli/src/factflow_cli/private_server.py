"""A server of our own for the length of one command: started on a free port, stopped by its pid.

It runs in a session of its own, so that Ctrl+C reaches only the command, which then stops it in order.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from factflow_cli.errors import CliError
from factflow_cli.exit_codes import ExitCode

START_SECONDS = 60.0
STOP_SECONDS = 30.0
DATA_DIR = "./.factflow"
_LISTENING = "Factflow listening on "
_TOKENS = frozenset({"FACTFLOW_API_TOKENS", "FACTFLOW_API_TOKENS_FILE", "FACTFLOW_API_TOKEN"})
"""What a server of our own on loopback has no use for."""


def server_command(*arguments: str) -> list[str]:
    """Return the command line of the server module; raise `CliError` when it is not installed."""
    if importlib.util.find_spec("factflow_server") is None:
        raise CliError(
            "the server is not installed beside this command",
            hint="pip install factflow-server, or name a running server: --server URL",
            exit_code=ExitCode.UNREACHABLE,
        )
    return [sys.executable, "-m", "factflow_server", *arguments]


class PrivateServer:
    """A running server: its `url`, its `pid`, and a way to notice that it died."""

    def __init__(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        self._process = process
        self._log = log
        self.pid = process.pid
        self.url = ""

    def wait_until_listening(self) -> None:
        """Read the line that says where it listens; raise `CliError` when it does not come."""
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read_lines, args=(lines,), daemon=True).start()
        try:
            line = lines.get(timeout=START_SECONDS)
        except queue.Empty:
            raise CliError(
                f"the private server did not start within {START_SECONDS:g}s",
                hint="start it by hand to see why: factflow serve",
                exit_code=ExitCode.UNREACHABLE,
            ) from None
        if not line.startswith(_LISTENING):
            self._process.wait(STOP_SECONDS)
            raise self._death("could not start")
        self.url = line.removeprefix(_LISTENING).partition(" ")[0].strip()

    def _read_lines(self, lines: queue.SimpleQueue[str]) -> None:
        """Hand on what it prints; an empty line at the end wakes who still waits."""
        if self._process.stdout is not None:
            for line in self._process.stdout:
                lines.put(line)
        lines.put("")

    def check_alive(self) -> None:
        """Raise `CliError` with its last words when it is gone."""
        if self._process.poll() is not None:
            raise self._death("died")

    def _death(self, how: str) -> CliError:
        self._log.seek(0)
        said = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        hints = [line.removeprefix("hint:").strip() for line in said if line.startswith("hint:")]
        errors = [line for line in said if line.startswith("factflow: error:")]
        reason = (
            (errors or said or ["it said nothing"])[-1].removeprefix("factflow: error:").strip()
        )
        return CliError(
            f"the private server {how}: {reason}",
            hint=hints[-1] if hints else "start it by hand to see why: factflow serve",
            exit_code=ExitCode.UNREACHABLE,
        )

    def stop(self) -> None:
        """Ask it to stop in order and wait; kill it when it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def private_server(
    options: Sequence[str] = (), data_dir: str = DATA_DIR
) -> Iterator[PrivateServer]:
    """Run a server on `data_dir` and a free port for the length of the `with` block."""
    arguments = [
        "serve",
        "--embedded",
        "--private",
        "--data-dir",
        data_dir,
        "--port",
        "0",
        *options,
    ]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(  # noqa: S603  # our own interpreter and module, no shell
            server_command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=Path.cwd(),
            env={name: text for name, text in os.environ.items() if name not in _TOKENS},
            start_new_session=True,
        ) as process,
    ):
        server = PrivateServer(process, log)
        before = {
            number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)
        }
        try:
            server.wait_until_listening()
            yield server
        finally:
            server.stop()
            for number, handler in before.items():
                signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  # signal's shape
    """Unwind, so that the server is stopped, instead of dying on the spot."""
    sys.exit(128 + number)
