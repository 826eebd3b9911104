"""The demo's workers, and what each of them did: every process notes its commits in one journal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import screen
from demo_process import DemoProcess
from demo_server import DemoServer

NUMBER = 2
JOURNAL = "FACTFLOW_COMMIT_JOURNAL"


def start_workers(
    running: ExitStack,
    folder: Path,
    lock: int,
    *,
    private_networks: bool,
    places: Mapping[str, str],
) -> Sequence[DemoProcess]:
    """Start the workers; they are stopped with `running`."""
    arguments = ["worker", *(["--allow-private-networks"] if private_networks else [])]
    return [
        running.enter_context(
            DemoProcess(
                f"worker {number}",
                arguments,
                ready="Factflow worker ",
                log=folder / f"worker-{number}.log",
                lock=lock,
                variables=places,
            )
        )
        for number in range(1, NUMBER + 1)
    ]


def check_shares(
    promises: screen.Promises,
    journal: Path,
    server: DemoServer,
    workers: Sequence[DemoProcess],
    execution: str,
) -> None:
    """Check that all workers had a part in an execution, and the server none."""
    done = _commits(journal, execution)
    shares = [done.pop(worker.pid, 0) for worker in workers]
    named = " and ".join(map(str, shares))
    promises.check(
        min(shares) > 0 and not done,
        f"{named} outcomes were stored by the workers, {done[server.pid]} by the server",
    )


def _commits(journal: Path, execution: str) -> Counter[int]:
    """Return how many outcomes of an execution each process stored, by its pid; what the execution begins
    with (`_init`) is the server's to store."""
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    commits = [json.loads(line) for line in lines if line]
    prefix = f"executions/{execution}/"
    return Counter(
        commit["pid"]
        for commit in commits
        if commit["key"].startswith(prefix) and not commit["key"].startswith(f"{prefix}_")
    )
