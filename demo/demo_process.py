"""A `factflow` command that runs until it is stopped: a process of its own, stopped by its handle."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import screen
from demo_folder import DemoError, note_holder

PROGRAM = Path(sys.executable).with_name("factflow")
START_SECONDS = 60.0
STOP_SECONDS = 20.0


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without settings of Factflow, which are for other servers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FACTFLOW_")}
    return kept | more


class DemoProcess:
    """A process that is up inside its `with` block: its `pid`, and the line by which it said that it is
    ready, which begins with `ready`. `name` is what people call it; `lock` holds the demo's folder."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        ready: str,
        log: Path,
        lock: int,
        variables: Mapping[str, str],
    ) -> None:
        self.name = name
        self.pid = 0
        self.line = ""
        self._arguments = arguments
        self._ready = ready
        self._log = log
        self._lock = lock
        self._variables = {"FACTFLOW_SHUTDOWN_GRACE_SECONDS": "2", **variables}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if not PROGRAM.exists():
            raise DemoError(f"there is no {PROGRAM}", "make setup", exit_code=2)
        screen.command(["factflow", *self._arguments])
        with self._log.open("w", encoding="utf-8") as log:
            # In a session of its own, so that Ctrl+C reaches the demo alone, which then stops it.
            self._process = subprocess.Popen(
                [str(PROGRAM), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(**self._variables),
                start_new_session=True,
                pass_fds=(self._lock,),
            )
        try:
            self.pid = self._process.pid
            note_holder(self._lock, self.pid)
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> None:
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()

        def read() -> None:
            if process.stdout is not None:
                with process.stdout as said:
                    for line in said:
                        lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        try:
            line = lines.get(timeout=START_SECONDS)
        except queue.Empty:
            line = ""
        if not line.startswith(self._ready):
            raise DemoError(
                f"{self.name} did not start" + self.last_words(),
                f"see {screen.path(self._log)}",
                exit_code=2,
            )
        self.line = line.removeprefix(self._ready)

    def last_words(self) -> str:
        """Return `: ` and the last line it wrote on stderr, or nothing."""
        said = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        lines = [line for line in said if line.strip() and not line.startswith("hint:")]
        return f": {lines[-1].removeprefix('factflow: error: ')}" if lines else ""

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> int | None:
        """Ask it to stop in order, wait, and kill it when it does not; return its exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        except BaseException:
            self._process.kill()  # a second Ctrl+C: quicker, but nothing is left behind either
            raise
        return self._process.wait()
