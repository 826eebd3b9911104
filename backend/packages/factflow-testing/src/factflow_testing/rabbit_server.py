"""A RabbitMQ server of one's own, on a free port of loopback: for tests that stop and start it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from factflow_testing.free_port import free_port
from factflow_testing.waiting import eventually

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
START_SECONDS = 90.0


class RabbitServer:
    """Keeps its data in the folder over a restart. Skips the test where RabbitMQ is not installed."""

    def __init__(self, folder: Path, settings: str = "", advanced: str = "[].") -> None:
        if not (PROGRAMS / "rabbitmq-server").exists():
            if os.environ.get("FACTFLOW_TEST_REQUIRE_SERVICES") == "1":
                pytest.fail("RabbitMQ is not installed")
            pytest.skip("RabbitMQ is not installed")
        self._folder = folder
        self.port, distribution, epmd = (free_port() for _ in range(3))
        self._log = folder / "server.log"
        (folder / "home").mkdir(parents=True)
        configuration = folder / "rabbitmq.conf"
        configuration.write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n{settings}\n")
        (folder / "advanced.config").write_text(advanced)
        (folder / "enabled_plugins").write_text("[].\n")
        # Everything it would share with another server of the machine has a name or port of its own.
        self._environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "RABBITMQ_NODENAME": f"ff{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where clients find it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    async def start(self) -> None:
        """Start it; return when clients can connect."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it only forks
                [PROGRAMS / "rabbitmq-server"],
                env=self._environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await eventually(self._answers, seconds=START_SECONDS)

    def kill(self) -> None:
        """End it without a warning, with all it started but its port mapper."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it and its port mapper."""
        self.kill()
        for pid in _port_mappers(self._environment["ERL_EPMD_PORT"]):
            os.kill(pid, signal.SIGTERM)

    async def _answers(self) -> bool:
        import aio_pika

        process = self._process
        if process is None or process.poll() is not None:
            pytest.fail(f"RabbitMQ did not start: {self._log.read_text()[-2000:]}")
        try:
            connection = await aio_pika.connect(self.url, timeout=2)
        except Exception:  # noqa: BLE001 - whatever it says, it is not up yet
            return False
        await connection.close()
        return True


def _port_mappers(port: str) -> list[int]:
    """Return the processes that map names to ports for a server of ours: they outlive it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"epmd") and f"ERL_EPMD_PORT={port}".encode() in environment:
            found.append(int(entry.name))
    return found
