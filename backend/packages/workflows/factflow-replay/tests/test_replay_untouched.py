"""The source of any number of replays stays as it was, byte for byte: objects, sidecars and rows."""

from __future__ import annotations

import contextlib
import hashlib
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from factflow_replay.replay.errors import ReplayEmptyError, ReplayRefusedError
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform

NEVER = [9999]


def manifest(folder: Path, execution: str) -> dict[str, str]:
    root = folder / "storage" / "executions" / execution
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


SOMETIMES_EMPTY = {"lineage_late_ends"}
"""Of rows that were written before their stage had ended, which happens to slow stages."""


def lineage_rows(folder: Path, execution: str) -> list[Any]:
    """All tables of the lineage database, as far as they speak of an execution."""
    database = sqlite3.connect(folder / "lineage.db")
    tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
    rows = []
    named = "select number from lineage_executions where execution_id = ?"
    narrowed = {
        "execution_id": "execution_id = ?",
        "execution_number": f"execution_number = ({named})",
        "stage_number": "stage_number in "
        f"(select number from lineage_stages where execution_number = ({named}))",
    }
    for (table,) in sorted(tables):
        columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
        condition = next((narrowed[name] for name in narrowed if name in columns), None)
        if condition is None:
            continue  # it speaks of the database, and of no execution
        query = f"select * from {table} where {condition} order by 1, 2"
        found = database.execute(query, (execution,)).fetchall()
        assert found or table in SOMETIMES_EMPTY, f"nothing of the execution in {table}"
        rows.append((table, found))
    database.close()
    return rows


SOURCE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 9}}
      - {type: fail, config: {numbers: [3, 4]}}
      - {type: keep, config: {below: 7}}
      - {type: echo, condition: {field: n, operator: gt, value: 2}}
    outbound: middle
  second:
    inbound: {queue: middle}
    adapters:
      - {type: fan, stage: parts, config: {count: 2, keyed: false}}
      - {type: fail, stage: picky, config: {numbers: [1]}}
init_message: {route: first}
"""


def a_request(chance: random.Random, done: list[str]) -> dict[str, Any]:
    """Put together what a person might ask for; some of it contradicts itself."""
    return {
        "from_stage": chance.choice(["fan", "fail", "keep", "echo", "parts", "picky", None]),
        "rerun": chance.random() < 0.4,
        "only": "failed" if chance.random() < 0.3 else None,
        "to_route": "second" if chance.random() < 0.2 else None,
        "sample": chance.choice([None, None, 3]),
        "where": chance.choice([(), (), ("url~/1",), ("status=completed",)]),
        "overlays": tuple(chance.sample(done, min(len(done), chance.randint(0, 2)))),
        "overrides": chance.choice([{}, {"first.fail.numbers": NEVER}, {"first.fan.count": 5}]),
    }


@pytest.mark.parametrize("count", [15, pytest.param(50, marks=pytest.mark.long)])
async def test_random_replays_leave_the_source_as_it_was(
    platform: Platform, tmp_path: Path, count: int
) -> None:
    source = await platform.run(SOURCE)
    name = source.execution_id
    await platform.engine.lineage.flush()
    objects, rows = manifest(tmp_path, name), lineage_rows(tmp_path, name)
    assert len(objects) > 50
    assert any(found for _, found in rows)
    chance = random.Random(count)
    done: list[str] = []
    while len(done) < count:
        request = ReplayRequest(name, **a_request(chance, done))
        with contextlib.suppress(ReplayRefusedError, ReplayEmptyError):
            started = (await platform.replays.replay(request)).execution
            done.append((await platform.end(started.execution_id)).execution_id)
    await platform.engine.lineage.flush()
    assert manifest(tmp_path, name) == objects
    assert lineage_rows(tmp_path, name) == rows
    assert await platform.executions.get(name) == source
