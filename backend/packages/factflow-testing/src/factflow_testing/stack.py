"""The grown-up stack for tests: a database of its own, a broker, a shared store, servers and workers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from factflow_selftest.client import Client
from factflow_selftest.evidence import Evidence
from factflow_selftest.figures import Figures
from factflow_selftest.judge import judge_all
from factflow_selftest.pipeline import STATUS
from factflow_testing.broker_service import amqp_url, nats_url
from factflow_testing.nats_rig import quick_url
from factflow_testing.postgres_schemas import fresh_schema
from factflow_testing.server_process import ServerProcess
from factflow_testing.worker_process import WorkerProcess

REPEATS = frozenset({"wrongly_repeated", "repeated_beyond_in_flight"})
"""Figures about what was called again."""


def quick_nats_url() -> str:
    """Return the URL of NATS, with a short wait for what a killed process had in hand."""
    return quick_url(nats_url())


BROKERS = [pytest.param(amqp_url, id="rabbitmq"), pytest.param(quick_nats_url, id="nats")]
"""Where messages may stand in a grown-up stack; each answers with a URL, or skips the test."""


@dataclass
class Stack:
    """Starts servers and workers that share `variables`; what they leave is in the `evidence`."""

    folder: Path
    evidence: Evidence
    variables: dict[str, str] = field(default_factory=dict)
    servers: int = 0

    def server(self, *arguments: str | Path, **variables: str) -> ServerProcess:
        """Return one more server, with a data folder of its own."""
        self.servers += 1
        folder = self.folder / f"server-{self.servers}"
        return ServerProcess(folder, *arguments, cwd=self.folder, **{**self.variables, **variables})

    def worker(self, *arguments: str | Path, **variables: str) -> WorkerProcess:
        """Return one more worker."""
        return WorkerProcess(*arguments, cwd=self.folder, **{**self.variables, **variables})

    def commits(self) -> Counter[int]:
        """Return how many outcomes each process has committed, by its pid."""
        journal = self.evidence.commits
        # The last line may be half there.
        lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
        return Counter(json.loads(line)["pid"] for line in lines if line)

    def check(self, url: str, *, repeats: bool = False) -> Figures:
        """Fail unless a look from outside finds nothing lost, nothing done twice, every count right.

        With `repeats` it does not matter what was called again, as when several have one message in hand.
        """
        if repeats:
            self.evidence.note_kill()
        with contextlib.closing(Client(url)) as client:
            figures = judge_all(self.evidence, client, STATUS)
        wrong = {name for name in figures.wrong if not repeats or name not in REPEATS}
        assert not wrong, "\n".join([str(figures.as_json()), *figures.problems])
        return figures


@contextlib.contextmanager
def grown_up_stack(folder: Path, queue_url: str | None = None, **variables: str) -> Iterator[Stack]:
    """Lend a stack on PostgreSQL, a broker (RabbitMQ, unless another is named) and a folder as the shared
    store; the database is dropped afterwards."""
    evidence = Evidence(folder)
    evidence.storage.mkdir(parents=True)
    with _one_at_a_time(), fresh_schema() as database:
        yield Stack(
            folder,
            evidence,
            {
                "FACTFLOW_DATABASE_URL": database,
                "FACTFLOW_QUEUE_URL": queue_url or amqp_url(),
                "FACTFLOW_STORAGE_URI": evidence.storage.as_uri(),
                **evidence.variables,
                **variables,
            },
        )


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait until no other stack of tests is up: each takes dozens of PostgreSQL's connections."""
    with (Path(tempfile.gettempdir()) / "factflow-test-stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
