"""The list of executions when there are very many."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from latency import p95
from rounds import Workplace, say
from servers import Server
from table import Row

from factflow_execution import schema
from factflow_execution.tables import executions
from factflow_infra.database import sqlite_engine
from factflow_infra.schema import bring_up_to_date

SNAPSHOT = "version: '1.0'\nname: bench\n" + "# a snapshot of usual length\n" * 40
BATCH = 5_000
ASKED = 100
QUERIES: tuple[dict[str, str | int], ...] = (
    {},
    {"status": "failed"},
    {"offset": 1_000},
    {"status": "completed", "offset": 500},
)


def execution_rows(place: Workplace, count: int) -> list[Row]:
    """Ask a server with `count` executions for pages of them."""
    say(f"{count} executions")
    folder = place.folder("executions")
    (folder / "data").mkdir()
    asyncio.run(_fill(folder / "data" / "factflow.db", count))
    took = []
    with Server(folder) as server:
        for number in range(ASKED):
            begun = time.perf_counter()
            server.get("/executions", **QUERIES[number % len(QUERIES)])
            took.append((time.perf_counter() - begun) * 1000)
        ready = server.ready
        server.stop()
    return [
        Row("X1", f"GET /executions of {count}, p95", (p95(took),), "ms", target="≤ 100 ms"),
        Row("X2", "start to ready with as many", (ready,), "s", target="≤ 2 s"),
    ]


async def _fill(path: Path, count: int) -> None:
    engine = sqlite_engine(path)
    await bring_up_to_date(engine, schema)
    for start in range(0, count, BATCH):
        rows = [_execution(number) for number in range(start, min(count, start + BATCH))]
        async with engine.begin() as connection:
            await connection.execute(executions.insert(), rows)
    await engine.dispose()


def _execution(number: int) -> dict[str, object]:
    return {
        "execution_id": f"01a20ec9-0000-7000-8000-{number:012x}",
        "config_name": "bench",
        "config_hash": "0" * 64,
        "config_snapshot": SNAPSHOT,
        "status": "completed" if number % 20 else "failed",
        "started_at": 1_700_000_000.0 + number,
        "completed_at": 1_700_000_001.0 + number,
        "source": "api",
        "metadata": {},
        "message_count": 3,
        "failed_count": 0,
    }
