"""A NATS server of one's own, on a free port of loopback: for tests that stop and start it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from factflow_testing.free_port import free_port
from factflow_testing.waiting import eventually


class NatsServer:
    """Keeps its streams in the folder over a restart. Skips the test where the server is not installed."""

    def __init__(self, folder: Path, settings: str = "", *, jetstream: bool = True) -> None:
        program = shutil.which("nats-server")
        if program is None:
            if os.environ.get("FACTFLOW_TEST_REQUIRE_SERVICES") == "1":
                pytest.fail("nats-server is not installed")
            pytest.skip("nats-server is not installed")
        self._program = program
        self._folder = folder
        self.port = free_port()
        folder.mkdir(parents=True)
        store = f'jetstream {{store_dir: "{folder / "streams"}"}}' if jetstream else ""
        (folder / "nats.conf").write_text(f'listen: "127.0.0.1:{self.port}"\n{store}\n{settings}\n')
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where clients find it."""
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it; return when clients can connect."""
        log = self._folder / "server.log"
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it only forks
            [self._program, "-c", self._folder / "nats.conf", "-l", log], cwd=self._folder
        )
        await eventually(self._listens)

    def kill(self) -> None:
        """End it without a warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            pytest.fail(f"NATS did not start: see {self._folder}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False
