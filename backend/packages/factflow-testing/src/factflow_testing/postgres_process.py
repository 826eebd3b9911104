"""A PostgreSQL server of one's own, on a free port of loopback: for tests that stop and start it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from factflow_testing.free_port import free_port
from factflow_testing.postgres_schemas import execute
from factflow_testing.server_process import wait_until

START_SECONDS = 60.0
USER = "postgres"


class PostgresProcess:
    """Keeps its data in the folder over a restart. Skips the test where PostgreSQL is not installed."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found or os.geteuid() != 0:
            reason = "PostgreSQL is not installed, or cannot be run as its user"
            if os.environ.get("FACTFLOW_TEST_REQUIRE_SERVICES") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        self._programs = found[-1].parent
        self._data = folder / "data"
        self._log = folder / "server.log"
        self.port = free_port()
        user = pwd.getpwnam(USER)
        folder.mkdir(parents=True)
        for part in (folder, *folder.parents):  # its user has to get there
            if part.stat().st_uid == 0 and part != Path("/") and part.name != "tmp":
                part.chmod(part.stat().st_mode | 0o011)
        shutil.chown(folder, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", str(self._data), "--auth", "trust", "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where clients find it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it; return when clients can connect."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._as_user(
                    "postgres",
                    *("-D", str(self._data), "-p", str(self.port), "-h", "127.0.0.1"),
                    *("-k", "", "-c", "max_connections=300"),
                ),
                stdout=log,
                stderr=log,
                cwd=self._data.parent,
            )
        wait_until("PostgreSQL to answer", self._answers, START_SECONDS)

    def kill(self) -> None:
        """End it at once, without ending anything in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            execute(self.url, "SELECT 1")
        except Exception:  # noqa: BLE001 - whatever it says, it is not up yet
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            self._as_user(program, *arguments),
            check=True,
            cwd=self._data.parent,
            stdout=subprocess.DEVNULL,
        )

    def _as_user(self, program: str, *arguments: str) -> list[str]:
        user = pwd.getpwnam(USER)
        became = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return [*became, "--", str(self._programs / program), *arguments]
