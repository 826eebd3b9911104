"""The limits every figure is a ratio to: the same stage functions without a pipeline around them.

L1 calls them in a bare loop. L3 also keeps what Factflow keeps: one artefact and one record per stage
invocation (the fan-out's children too), each a file made by temporary name and rename, and one lineage
row in SQLite (WAL, synchronous=NORMAL, batches of 500).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from work import payload, stage_a, stage_b, stage_c

STAGES = (("a", stage_a), ("b", stage_b), ("c", stage_c))


def bare_loop(count: int, size: int, _folder: Path) -> float:
    """Return the seconds L1 takes."""
    items = [payload(number, size) for number in range(count)]
    start = time.perf_counter()
    for item in items:
        data = item
        for _, stage in STAGES:
            data = stage(data)
    return time.perf_counter() - start


def durable_loop(count: int, size: int, folder: Path) -> float:
    """Return the seconds L3 takes."""
    items = [payload(number, size) for number in range(count)]
    for name in ("fan", "a", "b", "c"):
        (folder / name).mkdir(parents=True)
    rows: list[tuple[Any, ...]] = []
    database = sqlite3.connect(folder / "lineage.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute(
        "CREATE TABLE rows (id TEXT PRIMARY KEY, stage TEXT, message TEXT, parent TEXT, input TEXT,"
        " output TEXT, started REAL, ended REAL, metadata TEXT)"
    )
    database.execute("CREATE INDEX rows_parent ON rows (parent)")
    start = time.perf_counter()
    for item in items:
        encoded = json.dumps(item).encode()
        _write(folder / "fan" / f"{item['n']}.json", encoded)
        data, source = item, hashlib.sha256(encoded).hexdigest()
        for name, stage in STAGES:
            began = time.time()
            data = stage(data)
            encoded = json.dumps(data).encode()
            digest = hashlib.sha256(encoded).hexdigest()
            record = {
                "stage": name,
                "message": data["n"],
                "input": source,
                "output": digest,
                "started": began,
                "ended": time.time(),
                "outcome": "stored",
                "size": len(encoded),
            }
            _write(folder / name / f"{data['n']}.json", encoded)
            _write(folder / name / f"{data['n']}.meta.json", json.dumps(record).encode())
            rows.append(
                (
                    f"{name}{data['n']}",
                    name,
                    str(data["n"]),
                    source,
                    source,
                    digest,
                    began,
                    time.time(),
                    "{}",
                )
            )
            source = digest
            if len(rows) == 500:
                _flush(database, rows)
    _flush(database, rows)
    elapsed = time.perf_counter() - start
    database.close()
    return elapsed


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.rename(path)


def _flush(database: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    database.execute("BEGIN")
    database.executemany("INSERT INTO rows VALUES (?,?,?,?,?,?,?,?,?)", rows)
    database.execute("COMMIT")
    rows.clear()
