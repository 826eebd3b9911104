"""An embedded server as a process of its own, to be killed."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

START_SECONDS = 90.0
STOP_SECONDS = 30.0
LAST_WORDS = 2_000
"""Characters of its log that are told when it ends by itself."""
_LISTENING = "Factflow listening on "


class SelftestError(Exception):
    """The self-test cannot go on; the message is for a person."""


class Server:
    """A process on a data folder and a free port; `url` is known once it listens."""

    def __init__(self, data_dir: Path, log: Path, variables: Mapping[str, str]) -> None:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("FACTFLOW_")}
        self._log = log
        with log.open("ab") as said:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module, no shell
                [
                    *[sys.executable, "-m", "factflow_server", "serve", "--embedded"],
                    *["--port", "0", "--data-dir", str(data_dir)],
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env={**kept, **variables},
                start_new_session=True,  # Ctrl+C is for us; we end it
            )
        self._killed = False

    def listening(self) -> str | None:
        """Wait until it listens and return its URL, None when it was killed before.

        Raises `SelftestError` when it ends by itself, or does not listen in time.
        """
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read_line, args=(lines,), daemon=True).start()
        try:
            line = lines.get(timeout=START_SECONDS)
        except queue.Empty:
            raise SelftestError(f"the server did not start within {START_SECONDS:g} s") from None
        if line.startswith(_LISTENING):
            return line.removeprefix(_LISTENING).partition(" ")[0]
        self.wait_dead()
        return None

    def _read_line(self, lines: queue.SimpleQueue[str]) -> None:
        if self._process.stdout is not None:
            lines.put(self._process.stdout.readline())

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it as `kill -9` does; harmless when it has ended."""
        self._killed = True
        self._process.kill()

    def wait_dead(self) -> None:
        """Wait until the killed process has ended. Raises `SelftestError` when it was not killed."""
        self._process.wait(STOP_SECONDS)
        if not self._killed:
            raise SelftestError(
                f"the server ended by itself with code {self._process.returncode}: {self.last_words()}"
            )

    def stop(self) -> None:
        """Ask it to end in order; kill it when it does not."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()

    def close(self) -> None:
        """Leave nothing of the process behind."""
        if self.alive:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def last_words(self) -> str:
        """Return the end of what it and those before it have said."""
        return self._log.read_text(errors="replace")[-LAST_WORDS:]
