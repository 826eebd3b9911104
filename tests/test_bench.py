"""The benchmark does the work it says, with Factflow and without; how fast is not asked here."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
COUNT = 20
WARM_UP = 10
"""Messages that Factflow does before it is measured."""


def bench(script: str, *arguments: str | Path) -> str:
    """Run one of the benchmark's scripts and return what it prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def contend(name: str, folder: Path) -> dict[str, Any]:
    """Run one contender once, on a few messages."""
    folder.mkdir()
    asked = json.dumps({"count": COUNT, "size": 4096, "folder": str(folder)})
    result: dict[str, Any] = json.loads(bench("contender.py", name, asked))
    return result


def measured(script: str, folder: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    """Run a suite in a folder and return its rows, by name."""
    figures = folder / "figures.json"
    bench(script, *arguments, "--folder", folder / "runs", "--json", figures)
    return {row["name"]: row for row in json.loads(figures.read_text())["rows"]}


def kept(execution: Path) -> tuple[set[tuple[str, str]], Counter[str]]:
    """What a run left below an execution: each stage's artefacts by hash, and how many records it has."""
    artefacts: set[tuple[str, str]] = set()
    records: Counter[str] = Counter()
    for path in execution.glob("flow/*/*"):
        stage = path.parent.name.removeprefix("bench_")
        if path.name.endswith(".meta.json"):
            records[stage] += 1
        elif path.name != "children.json":  # a list that is in the record when it is short
            artefacts.add((stage, hashlib.sha256(path.read_bytes()).hexdigest()))
    return artefacts, records


def rows_of(database: Path, table: str) -> int:
    """How many rows a table has."""
    connection = sqlite3.connect(database)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


def test_the_limit_keeps_what_factflow_keeps(tmp_path: Path) -> None:
    """The same artefacts to the byte, as many records and lineage rows: else their ratio means nothing."""
    contend("L3", tmp_path / "limit")
    contend("W1", tmp_path / "own")
    [limit] = (tmp_path / "limit/executions").iterdir()
    executions = (tmp_path / "own/data/storage/executions").iterdir()
    own = max(executions, key=lambda folder: len(list(folder.rglob("*"))))  # the other warmed up
    assert kept(own) == kept(limit)
    artefacts, records = kept(own)
    assert len(artefacts) == 4 * COUNT
    assert records == {"fan": 1, "a": COUNT, "b": COUNT, "c": COUNT}
    limit_rows = rows_of(tmp_path / "limit/lineage.db", "rows")
    own_rows = rows_of(tmp_path / "own/data/lineage.db", "lineage_rows")
    assert limit_rows == 3 * COUNT + 1
    assert own_rows - (3 * WARM_UP + 1) == limit_rows


def test_without_lineage_no_row_is_written_and_every_message_goes_through(tmp_path: Path) -> None:
    """What the cost of lineage is taken from does everything else."""
    contend("W1n", tmp_path / "run")
    assert rows_of(tmp_path / "run/data/lineage.db", "lineage_rows") == 0
    ends = list((tmp_path / "run/data/storage/executions").glob("*/flow/bench_c/*.meta.json"))
    assert len(ends) >= COUNT


def test_replays_call_exactly_what_is_needed(tmp_path: Path) -> None:
    """The failed messages at B and C, or all of them; A never."""
    result = contend("W2", tmp_path / "run")
    assert result["only_failed_calls"] == {"b": 1, "c": 1}
    assert result["whole_calls"] == {"b": COUNT, "c": COUNT}


@pytest.mark.long
def test_the_suite_gives_a_figure_or_a_reason_for_every_row(tmp_path: Path) -> None:
    """Each round has its value, and what cannot be measured is skipped with a word."""
    rows = measured("run.py", tmp_path, "--only", "W1m,W2", "--count", str(COUNT), "--rounds", "2")
    assert {"W1m", "L3m", "W1mk", "W2", "W2a"} <= rows.keys()
    assert all(len(row["values"]) == 2 or row["skipped"] for row in rows.values())
    assert rows["W1m"]["against"] == "L3m"
    assert rows["W2"]["note"] == "calls exactly the needed"
    page = bench("table.py", tmp_path / "figures.json")
    assert "| W2a | replay of everything behind A |" in page
    assert all(row["skipped"] or f"| {name} |" in page for name, row in rows.items())


def test_a_group_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    """Before anything is measured."""
    done = subprocess.run(
        [sys.executable, ROOT / "bench/run.py", "--only", "W9", "--folder", tmp_path / "runs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no group W9: W1, W1m," in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_kills_and_latency_are_measured_on_a_real_server(tmp_path: Path) -> None:
    """Nothing is lost, no lineage row is missing, and the loop was watched."""
    options = ("--count", "200", "--rounds", "1", "--kills", "1", "--kill-count", "300")
    rows = measured("run.py", tmp_path, "--only", "W3,E", *options)
    assert rows["W3l"]["values"] == [0]
    assert rows["W3g"]["values"] == [0]
    assert rows["W3f"]["values"][0] > 0
    assert rows["E1"]["values"][0] > 0


@pytest.mark.long
def test_scale_is_measured_at_any_size(tmp_path: Path) -> None:
    """Every question has its figure, and the replay takes all messages."""
    sizes = ("--messages", "200", "--rows", "2000", "--executions", "100", "--objects", "500")
    groups = "messages,deletions,lineage,executions"
    rows = measured("run_scale.py", tmp_path, "--only", groups, *sizes)
    assert {f"M{n}" for n in range(1, 8)} | {f"Q{n}" for n in range(1, 14)} <= rows.keys()
    assert {"D1", "D2", "D1k", "D2k"} <= rows.keys()
    assert "deleting an execution of 502 objects" in rows["D1"]["what"]
    assert rows["M4"]["what"].startswith("planning a replay of 200")
    assert rows["X1"]["values"][0] > 0
