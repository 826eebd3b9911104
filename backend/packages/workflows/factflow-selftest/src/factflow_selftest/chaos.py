"""Kills a server at random moments, starts it again, and has a judge count what came of it."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from factflow_selftest.client import Client
from factflow_selftest.evidence import Evidence
from factflow_selftest.figures import Figures
from factflow_selftest.judge import judge_all
from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_selftest.server import SelftestError, Server

UNFINISHED = frozenset({"running", "interrupted"})
WHILE_STARTING = 0.2
"""Share of the kills that may come before the server answers."""
START_UP = (0.3, 1.2)
"""When those come, as a share of the time that the last start took: before it, nothing is open yet."""
LIFE = 1.2
"""Seconds from its first answer within which the others come."""
EVERY_NTH_REPLAYS = 3
REPLAY_FROM = "split/selftest_vary"
PAUSE = 0.05
END_SECONDS = 600.0
"""How long executions may take to end once nothing is killed any more."""

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    """How much chaos: it is over after `kills`, or after `seconds`, whichever is first."""

    kills: int = 20
    seconds: float = 300.0
    seed: int = 0
    messages: int = 20
    packed: bool = False
    """Whether the server packs its storage."""


class ChaosRunner:
    """One run of the self-test in an empty folder; `tell` is given its progress."""

    def __init__(self, folder: Path, options: ChaosOptions, tell: Tell) -> None:
        self.evidence = Evidence(folder, packed=options.packed)
        self._folder = folder
        self._options = options
        self._tell = tell
        self._chance = random.Random(options.seed)  # noqa: S311  # to be drawn again alike
        self._yaml = pipeline_yaml(self.evidence.journal, options.messages)
        self._config: str | None = None
        self._begun = 0
        self._start_up = 1.0
        """Seconds that the last start took."""

    def run(self) -> Figures:
        """Kill, restart, and judge. Raises `SelftestError` when the server does not play its part."""
        deadline = time.monotonic() + self._options.seconds
        while len(self.evidence.kills) < self._options.kills and time.monotonic() < deadline:
            self._live_and_die()
            self._tell({"kills": len(self.evidence.kills), "executions": self._begun})
        with self._server() as server:
            url = server.listening()
            if url is None:
                raise SelftestError("the last server did not start")
            with contextlib.closing(Client(url)) as client:
                if not client.executions():
                    self._begin(client)
                self._wait_for_ends(client)
                return judge_all(self.evidence, client, STATUS)

    @contextlib.contextmanager
    def _server(self) -> Iterator[Server]:
        log = self._folder / "server.log"
        server = Server(self.evidence.data_dir, log, self.evidence.variables)
        try:
            yield server
            if server.alive:
                server.stop()
        finally:
            server.close()

    def _live_and_die(self) -> None:
        """Run one server until a moment that chance has chosen; then see what it left."""
        with self._server() as server:
            if self._chance.random() < WHILE_STARTING:
                with _killing(server, self._chance.uniform(*START_UP) * self._start_up):
                    self._keep_busy(server, server.listening())
            else:
                begun = time.monotonic()
                url = server.listening()
                self._start_up = time.monotonic() - begun
                with _killing(server, self._chance.uniform(0.0, LIFE)):
                    self._keep_busy(server, url)
        self.evidence.note_kill()

    def _keep_busy(self, server: Server, url: str | None) -> None:
        """See to it that something runs, until the server is gone; without a URL it is."""
        if url is None:
            return
        with contextlib.closing(Client(url)) as client:
            while server.alive:
                with contextlib.suppress(httpx2.TransportError):
                    if not any(each["status"] in UNFINISHED for each in client.executions()):
                        self._begin(client)
                time.sleep(PAUSE)

    def _begin(self, client: Client) -> None:
        """Start an execution: the pipeline afresh, or now and then a replay of one that has ended."""
        self._begun += 1
        ended = [
            each["execution_id"]
            for each in client.executions()
            if each["status"] == STATUS and each["parent_execution_id"] is None
        ]
        if ended and self._begun % EVERY_NTH_REPLAYS == 0:
            client.replay(ended[self._begun % len(ended)], REPLAY_FROM)
            return
        if self._config is None:
            self._config = client.create(self._yaml)
        client.run(self._config)

    def _wait_for_ends(self, client: Client) -> None:
        deadline = time.monotonic() + END_SECONDS
        while True:
            left = [each for each in client.executions() if each["status"] in UNFINISHED]
            if not left or time.monotonic() > deadline:
                return  # whoever judges says what has not ended
            self._tell({"kills": len(self.evidence.kills), "unfinished": len(left)})
            time.sleep(10 * PAUSE)


@contextlib.contextmanager
def _killing(server: Server, after: float) -> Iterator[None]:
    """Kill the server so many seconds from now; return when it is dead."""
    timer = threading.Timer(after, server.kill)
    timer.start()
    try:
        yield
        timer.join()
        server.wait_dead()
    finally:
        timer.cancel()
