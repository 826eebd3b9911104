"""The grown-up stack for tests: a database of its own, a broker, a shared store, servers and workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from factflow_selftest.evidence import Evidence
from factflow_testing.broker_service import amqp_url, nats_url
from factflow_testing.nats_rig import quick_url
from factflow_testing.postgres_schemas import fresh_schema
from factflow_testing.server_process import ServerProcess
from factflow_testing.worker_process import WorkerProcess


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


@contextlib.contextmanager
def grown_up_stack(folder: Path, queue_url: str | None = None, **variables: str) -> Iterator[Stack]:
    """Lend a stack on PostgreSQL, a broker (RabbitMQ, unless another is named) and a folder as the shared
    store; the database is dropped afterwards."""
    evidence = Evidence(folder)
    evidence.storage.mkdir(parents=True)
    with fresh_schema() as database:
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
