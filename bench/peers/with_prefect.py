"""Prefect: a flow that submits a task for each stage and message, with persisted results.

What it keeps: each task's result as a file, each task run and its states in the server's SQLite. Its
server is started for the run, in a folder of its own.
"""

from __future__ import annotations

import os
from typing import Any

from cost import Meter
from peers.assignment import CONCURRENCY, WARM_UP, answer, assignment
from work import payload, stage_a, stage_b, stage_c


def settle(folder: str) -> None:
    """Keep Prefect to its folder and to this machine."""
    for name in list(os.environ):
        if name.startswith("PREFECT_"):
            del os.environ[name]
    os.environ |= {
        "PREFECT_HOME": folder,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
    }


def make_flow() -> Any:
    """Return the flow; Prefect reads its settings when it is imported."""
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    keep: dict[str, Any] = {"persist_result": True, "cache_policy": None, "log_prints": False}
    a, b, c = (task(**keep)(stage) for stage in (stage_a, stage_b, stage_c))

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=CONCURRENCY))
    def seed(count: int, size: int) -> int:
        items = [payload(number, size) for number in range(count)]
        ends = [c.submit(b.submit(a.submit(item))) for item in items]
        return len({end.result()["sha"] for end in ends})

    return seed


def main() -> None:
    """Run it against a server of its own."""
    asked = assignment()
    settle(str(asked.folder / "prefect"))
    seed = make_flow()
    seed(WARM_UP, asked.size)
    meter = Meter()
    meter.start()
    done = seed(asked.count, asked.size)
    cost = meter.stop()
    if done != asked.count:
        raise SystemExit(f"{done} of {asked.count} results")
    answer(cost)


if __name__ == "__main__":
    main()
