"""Chaos on the grown-up stack: servers and workers are killed at random, the services end and come back.

    python -m factflow_testing.stack_chaos FOLDER --seconds 600 --messages 20000

What came of it is judged from outside: from the store, from the journals of adapters and commits, and from
what a server answers in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx2

from factflow_selftest.client import Client
from factflow_selftest.evidence import Evidence
from factflow_selftest.figures import Figures
from factflow_selftest.judge import Judge
from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_selftest.server import SelftestError
from factflow_testing.postgres_process import PostgresProcess
from factflow_testing.rabbit_server import RabbitServer
from factflow_testing.server_process import ServerDidNotStartError, ServerProcess
from factflow_testing.worker_process import WorkerProcess

UNFINISHED = frozenset({"running", "interrupted"})
AT_A_TIME = 2
FAN = 120
"""Of the self-test's pipeline, which makes about eight messages of each."""
PAUSES = (3.0, 8.0)
"""Seconds between two kills."""
PAUSE = 0.1
END_SECONDS = 300.0
MUST_BE_NONE = (
    "lost",
    "strays",
    "committed_twice",
    "changed",
    "mismatches",
    "lineage_differs",
    "wrong_ends",
)
"""Figures of the judge that must be 0. How often something was repeated is told and has no bound here: the
services end too, and give back what many have in hand."""

Role = Literal["server", "worker", "broker", "PostgreSQL"]


@dataclass(frozen=True, slots=True)
class StackChaosOptions:
    """At least so many `messages`, and chaos for at least so many `seconds`."""

    messages: int = 20_000
    seconds: float = 600.0
    seed: int = 0
    servers: int = 2
    workers: int = 3
    broker_restarts: int = 2
    database_restarts: int = 1


@dataclass
class StackFigures:
    """What the judge counted, and what was done to the stack; `next_commit` has the longest wait (seconds)
    for the next commit after each kind of blow."""

    judged: Figures
    blows: Counter[Role] = field(default_factory=Counter)
    next_commit: dict[Role, float] = field(default_factory=dict)
    never_begun: int = 0
    """Executions that failed to launch while a service was away; whoever asked was told."""
    taken_over: int = 0
    seconds: float = 0.0

    @property
    def wrong(self) -> dict[str, int]:
        """Return the figures that must be 0 and are not."""
        return {name: count for name in MUST_BE_NONE if (count := getattr(self.judged, name))}

    def table(self) -> str:
        """Return all of it, a line each."""
        judged = self.judged
        rows: list[tuple[str, Any]] = [
            (f"blows: {role}", n) for role, n in sorted(self.blows.items())
        ]
        rows += [
            ("executions, of them taken over", f"{judged.executions}, {self.taken_over}"),
            ("never begun", self.never_begun),
            ("messages", judged.announced),
            *((f"  {name}", count) for name, count in sorted(judged.outcomes.items())),
            ("calls, of them repeated", f"{judged.invocations}, {judged.repeated}"),
            ("records, lineage rows", f"{judged.records}, {judged.lineage_rows}"),
            *(
                (f"next commit after: {r}", f"{s:.1f} s at most")
                for r, s in self.next_commit.items()
            ),
            ("seconds", round(self.seconds)),
            ("lost", judged.lost),
            ("committed twice", judged.committed_twice),
            ("wrong in any way", self.wrong or "nothing"),
        ]
        return "\n".join(f"{name:<34} {value}" for name, value in rows)


class StackChaos:
    """One run in an empty folder; `tell` is given a line for whatever happens."""

    def __init__(
        self, folder: Path, options: StackChaosOptions, tell: Callable[[str], object]
    ) -> None:
        self.evidence = Evidence(folder)
        self.evidence.storage.mkdir(parents=True)
        self._folder = folder
        self._options = options
        self._tell = tell
        self._chance = random.Random(options.seed)  # to be drawn again alike
        self._broker = RabbitServer(folder / "broker")
        self._database = PostgresProcess(folder / "postgres")
        self._servers: dict[int, ServerProcess | None] = {}
        self._workers: dict[int, WorkerProcess | None] = {}
        self._figures = StackFigures(Figures())
        self._begun: set[str] = set()
        self._messages = 0
        self._struck: tuple[Role, float, int] | None = None

    def run(self) -> StackFigures:
        """Strike, start again, and judge."""
        for library in ("aiormq", "aio_pika"):  # they complain of a broker that is not up yet
            logging.getLogger(library).setLevel(logging.CRITICAL + 1)
        begun = time.monotonic()
        try:
            self._database.start()
            asyncio.run(self._broker.start())
            self._supervise()
            self._live_through()
            self._supervise()
            self._wait_for_ends()
            self.evidence.note_kill()
            self._judge()
        finally:
            self._close()
        self._figures.seconds = time.monotonic() - begun
        return self._figures

    # -- what happens

    def _live_through(self) -> None:
        options, begun = self._options, time.monotonic()
        blows = self._schedule()
        next_kill = time.monotonic() + self._chance.uniform(*PAUSES)
        while True:
            now = time.monotonic()
            if now - begun > options.seconds and self._messages >= options.messages and not blows:
                return
            if blows and now - begun > blows[0][0]:
                self._restart(blows.pop(0)[1], now - begun)
            elif now > next_kill:
                self._kill_one(now - begun)
                next_kill = time.monotonic() + self._chance.uniform(*PAUSES)
            self._supervise()
            self._keep_busy()
            self._watch_commits()
            time.sleep(PAUSE)

    def _schedule(self) -> list[tuple[float, Role]]:
        options = self._options
        found: list[tuple[float, Role]] = []
        for number in range(options.broker_restarts):
            at = options.seconds * (number + 1) / (options.broker_restarts + 1)
            found.append((at, "broker"))
        for number in range(options.database_restarts):
            at = options.seconds * (number + 0.7) / (options.database_restarts + 0.2)
            found.append((at, "PostgreSQL"))
        return sorted(found)

    def _kill_one(self, at: float) -> None:
        alive: list[tuple[Role, int]] = [("server", n) for n, one in self._servers.items() if one]
        alive += [("worker", n) for n, one in self._workers.items() if one]
        if not alive:
            return
        role, number = self._chance.choice(alive)
        many: dict[int, Any] = self._servers if role == "server" else self._workers
        many[number].kill()
        many[number] = None
        self._note(role)
        self._tell(f"{at:6.1f} s  {role} {number} is killed")

    def _restart(self, role: Role, at: float) -> None:
        self._tell(f"{at:6.1f} s  {role} is ended and started again")
        self._note(role)
        if role == "broker":
            self._broker.kill()
            asyncio.run(self._broker.start())
        else:
            self._database.kill()
            self._database.start()

    def _note(self, role: Role) -> None:
        self._figures.blows[role] += 1
        self._struck = (role, time.monotonic(), self._committed())

    def _watch_commits(self) -> None:
        if self._struck is None:
            return
        role, at, size = self._struck
        if self._committed() > size:
            waited = time.monotonic() - at
            longest = self._figures.next_commit
            longest[role] = max(longest.get(role, 0.0), waited)
            self._struck = None

    def _committed(self) -> int:
        journal = self.evidence.commits
        return journal.stat().st_size if journal.exists() else 0

    # -- who is there

    def _supervise(self) -> None:
        """Start what is not there; one that finds a service away is started again later."""
        variables = {
            "FACTFLOW_DATABASE_URL": self._database.url,
            "FACTFLOW_QUEUE_URL": self._broker.url,
            "FACTFLOW_STORAGE_URI": self.evidence.storage.as_uri(),
            "FACTFLOW_LEASE_SECONDS": "3",
            **self.evidence.variables,
        }
        for number in range(self._options.servers):
            one = self._servers.get(number)
            if one is None or not one.alive:
                folder = self._folder / f"server-{number}"
                self._servers[number] = self._started(
                    functools.partial(ServerProcess, folder, "--no-work", cwd=None, **variables)
                )
        for number in range(self._options.workers):
            worker = self._workers.get(number)
            if worker is None or not worker.alive:
                self._workers[number] = self._started(
                    functools.partial(WorkerProcess, cwd=None, **variables)
                )

    def _started(self, start: Callable[[], Any]) -> Any:
        try:
            return start()
        except ServerDidNotStartError as error:
            self._tell(f"          did not start: {str(error).strip().splitlines()[-1:]}")
            return None

    def _keep_busy(self) -> None:
        """See to it that something runs; which server is asked is left to chance."""
        alive = [one for one in self._servers.values() if one]
        if not alive:
            return
        with self._asking(self._chance.choice(alive).url) as client:
            executions = client.executions()
            running = sum(one["status"] in UNFINISHED for one in executions)
            if running < AT_A_TIME and self._messages < 10 * self._options.messages:
                client.run(client.create(pipeline_yaml(self.evidence.journal, FAN)))
            self._messages = sum(one["message_count"] or 0 for one in executions)

    @contextlib.contextmanager
    def _asking(self, url: str) -> Iterator[Client]:
        with (
            contextlib.closing(Client(url)) as client,
            contextlib.suppress(httpx2.TransportError, SelftestError),
        ):
            yield client

    def _wait_for_ends(self) -> None:
        deadline = time.monotonic() + END_SECONDS
        left: list[str] = ["not asked yet"]
        while left and time.monotonic() < deadline:
            self._supervise()
            self._watch_commits()
            for server in [one for one in self._servers.values() if one][:1]:
                with self._asking(server.url) as client:
                    executions = client.executions()
                    left = [
                        one["execution_id"] for one in executions if one["status"] in UNFINISHED
                    ]
            time.sleep(5 * PAUSE)

    def _judge(self) -> None:
        server = next(one for one in self._servers.values() if one)
        with contextlib.closing(Client(server.url)) as client:
            executions = [client.execution(one["execution_id"]) for one in client.executions()]
            begun = [one for one in executions if not _was_never_begun(one)]
            self._figures.never_begun = len(executions) - len(begun)
            self._figures.taken_over = sum(bool(one["recoveries"]) for one in begun)
            self._figures.judged = Judge(self.evidence).judge(begun, client.rows, STATUS)

    def _close(self) -> None:
        for one in (*self._workers.values(), *self._servers.values()):
            if one is not None:
                one.close()
        self._broker.close()
        self._database.kill()


def _was_never_begun(execution: dict[str, Any]) -> bool:
    """Tell whether it could not be launched, which whoever asked for it was told."""
    return execution["status"] == "failed" and execution["message_count"] is None


def main() -> int:
    """Run it, print the figures, and return 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    given = parser.parse_args()
    print(f"seed {given.seed}")  # noqa: T201 - this is the terminal
    options = StackChaosOptions(given.messages, given.seconds, given.seed)
    given.folder.mkdir(parents=True, exist_ok=True)
    figures = StackChaos(given.folder, options, print).run()
    print(figures.table())  # noqa: T201 - this is the terminal
    for sentence in figures.judged.problems if figures.wrong else ():
        print(sentence)  # noqa: T201 - this is the terminal
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
