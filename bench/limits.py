"""The limits every figure is a ratio to: the same stage functions without a pipeline around them.

L1 calls them in a bare loop. L3 also keeps what Factflow keeps, by the plainest means: the artefact of each
child and stage, a record beside each stage's, every one a file of its own under a temporary name, then
renamed; and one lineage row for each record, in SQLite (WAL, synchronous=NORMAL, 500 in a batch). L4 is
the bare loop of a stage that waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from cost import Cost, Meter
from work import Payload, payload, stage_a, stage_b, stage_c

STAGES: tuple[tuple[str, Callable[[Payload], Payload]], ...] = (
    ("a", stage_a),
    ("b", stage_b),
    ("c", stage_c),
)
ROWS_PER_BATCH = 500
COLUMNS = (
    *("id", "execution_id", "route_id", "stage", "adapter", "adapter_version", "message_id"),
    *("origin_id", "parent_id", "root_id", "status", "outcome", "attempts", "input_hash"),
    *("output_hash", "input_key", "output_key", "output_count", "pending_children"),
    *("started_at", "completed_at", "duration_ms", "metadata"),
)
INSERT = f"INSERT INTO rows VALUES ({','.join('?' * len(COLUMNS))})"

encode = msgspec.json.Encoder().encode  # what Factflow encodes with too, so that it is in no ratio


def bare_loop(count: int, size: int, _folder: Path) -> Cost:
    """L1: call the stages, keep nothing."""
    items = [payload(number, size) for number in range(count)]
    meter = Meter()
    meter.start()
    for item in items:
        data = item
        for _, stage in STAGES:
            data = stage(data)
    return meter.stop()


def durable_loop(count: int, size: int, folder: Path) -> Cost:
    """L3: call the stages, keep an artefact and a record of each call, and a lineage row."""
    items = [payload(number, size) for number in range(count)]
    execution = f"{folder}/executions/01a20ec9-cde8-78c2-bad0-36fdd516c757/flow"
    for name in ("fan", "a", "b", "c"):
        Path(execution, name).mkdir(parents=True)
    database = open_rows(folder / "lineage.db")
    rows: list[tuple[Any, ...]] = []
    meter = Meter()
    meter.start()
    began = time.time()
    children = []
    for item in items:
        data = encode(item)
        key = f"{execution}/fan/{item['n']:032x}"
        write(f"{key}.json", data)
        children.append({"id": f"{item['n']:032x}", "hash": hashlib.sha256(data).hexdigest()})
    keep(
        rows,
        f"{execution}/fan/{'0' * 32}",
        stage="fan",
        source="",
        digest=children[0]["hash"],
        began=began,
        data=b"",
    )
    write(f"{execution}/fan/children.json", encode(children))
    for item, child in zip(items, children, strict=True):
        payload_now, source, name_of = item, child["hash"], child["id"]
        for name, stage in STAGES:
            began = time.time()
            payload_now = stage(payload_now)
            data = encode(payload_now)
            digest = hashlib.sha256(data).hexdigest()
            keep(
                rows,
                f"{execution}/{name}/{name_of}",
                stage=name,
                source=source,
                digest=digest,
                began=began,
                data=data,
            )
            source = digest
            if len(rows) >= ROWS_PER_BATCH:
                flush(database, rows)
    flush(database, rows)
    cost = meter.stop()
    database.close()
    return cost


def keep(
    rows: list[tuple[Any, ...]],
    key: str,
    *,
    stage: str,
    source: str,
    digest: str,
    began: float,
    data: bytes,
) -> None:
    """Write an artefact and its record, and add the row: all that a stage leaves."""
    ended = time.time()
    message = key[-32:]
    record = {
        "execution_id": "01a20ec9-cde8-78c2-bad0-36fdd516c757",
        "route": "flow",
        "stage": stage,
        "adapter": f"bench_{stage}",
        "adapter_version": "0+78014d23f2cf",
        "message_id": message,
        "origin_id": message,
        "parent_id": message,
        "root_id": message,
        "outcome": "stored",
        "input_key": key,
        "input_hash": source,
        "input_content_type": "application/json",
        "output_key": f"{key}.json",
        "output_hash": digest,
        "content_type": "application/json",
        "size": len(data),
        "started_at": began,
        "completed_at": ended,
        "config_hash": digest,
        "lineage_id": message,
        "key": key,
    }
    if data:
        write(f"{key}.json", data)
    write(f"{key}.meta.json", encode(record))
    rows.append(
        (
            *(f"{stage}{message}", record["execution_id"], "flow", stage, record["adapter"]),
            *(record["adapter_version"], message, message, message, message, "completed"),
            *("stored", 1, source, digest, key, f"{key}.json", 1, 0),
            *(began, ended, (ended - began) * 1000, "{}"),
        )
    )


def write(path: str, data: bytes) -> None:
    """Make a file that is there in full or not at all."""
    temporary = f"{path}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)  # noqa: PTH104 - a limit makes no objects on the way


def open_rows(path: Path) -> sqlite3.Connection:
    """Return an empty table of lineage rows, found by id and by parent."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute(f"CREATE TABLE rows ({','.join(COLUMNS)}, PRIMARY KEY (id))")
    database.execute("CREATE INDEX rows_parent ON rows (parent_id)")
    return database


def flush(database: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    """Write the rows in one transaction and forget them."""
    database.execute("BEGIN")
    database.executemany(INSERT, rows)
    database.execute("COMMIT")
    rows.clear()


def waiting_loop(count: int, size: int, concurrency: int, wait: float) -> Cost:
    """L4: `concurrency` workers call A, wait, call B and C; nothing is kept."""
    items = iter([payload(number, size) for number in range(count)])

    async def worker() -> None:
        for item in items:
            data = stage_a(item)
            await asyncio.sleep(wait)
            stage_c(stage_b(data))

    async def run() -> Cost:
        meter = Meter()
        meter.start()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        return meter.stop()

    return asyncio.run(run())
