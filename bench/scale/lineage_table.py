"""Lineage with very many rows: the pace of writing, and how long questions take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Literal

from latency import p95
from rounds import Workplace, say
from table import Row

from factflow_foundation.records import ErrorInfo
from factflow_infra.database import sqlite_engine
from factflow_lineage.filters import LineageFilter
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.tables import create_schema
from factflow_lineage.writer import LineageService

PER_EXECUTION = 10_000
STAGES = ("a", "b", "c")
CHAIN = len(STAGES)
FAN = 300
"""Messages below each root: chains of up to 901 rows."""
FAIL_EVERY = 100
SLICE = 50_000
"""Rows over which the pace is taken, at the beginning and at the end."""
ASKED = 100


def lineage_rows_of(count: int) -> Iterator[PipelineLineageEntry]:
    """Yield the rows of as many executions as it takes: roots, each with `FAN` chains of three."""
    made = 0
    while True:
        execution = f"{made // PER_EXECUTION:032x}"
        root = _row(execution, made, None, "fan", FAN)
        yield root
        made += 1
        for _ in range(FAN):
            parent = root.id
            for stage in STAGES:
                row = _row(execution, made, parent, stage, int(stage != STAGES[-1]))
                yield row
                parent = row.id
                made += 1
            if made >= count:
                return


def _row(
    execution: str, number: int, parent: str | None, stage: str, children: int
) -> PipelineLineageEntry:
    at = 1_700_000_000 + number / 1000
    failed = stage == STAGES[-1] and number % FAIL_EVERY == 0
    return PipelineLineageEntry(
        id=_id(number),
        execution_id=execution,
        route_id="flow",
        stage=f"bench_{stage}",
        adapter=f"bench_{stage}",
        adapter_version="1+0123456789ab",
        message_id=_id(number),
        origin_id=_id(number + 1),
        parent_id=parent,
        status="failed" if failed else "completed",
        outcome="failed" if failed else "fanned_out" if stage == "fan" else "stored",
        input_hash=_id(number + 2) * 2,
        output_hash=_id(number + 3) * 2,
        input_key=f"executions/{execution}/flow/bench_{stage}/{_id(number)}.json",
        output_key=f"executions/{execution}/flow/bench_{stage}/{_id(number)}.json",
        output_count=1,
        error=ErrorInfo("ValueError", "made to fail") if failed else None,
        started_at=at,
        completed_at=at + 0.01,
        duration_ms=10.0,
        metadata={"url": f"https://example.com/{number}"},
        expected_children=children,
        continues=stage in STAGES[:-1],
    )


def _id(number: int) -> str:
    """Return an id as scattered as a real one."""
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032x}"


def table_rows(place: Workplace, count: int) -> list[Row]:
    """Write `count` rows, then ask."""
    say(f"lineage of {count} rows")
    return asyncio.run(_measure(place.folder("lineage") / "lineage.db", count))


async def _measure(path: Path, count: int) -> list[Row]:
    writing = sqlite_engine(path)
    await create_schema(writing)
    reading = sqlite_engine(path, read_only=True)
    service = LineageService(writing)
    await service.start()
    try:
        paces = await _write(service, count)
        rows = await _ask(PipelineLineageRepository(reading), count)
    finally:
        await service.close()
        await writing.dispose()
        await reading.dispose()
    first, last = paces[0], paces[-1]
    return [
        Row("Q1", f"lineage rows a second, {count} rows in", (last,), "/s"),
        Row("Q2", "that pace against an empty table", (last / first,), "", "empty", "≥ 0.8"),
        *rows,
    ]


async def _write(service: LineageService, count: int) -> list[float]:
    """Return the rows a second of each slice."""
    paces: list[float] = []
    batch: list[PipelineLineageEntry] = []
    size = max(1, min(SLICE, count // 2))
    for row in lineage_rows_of(count):
        batch.append(row)
        if len(batch) == size:  # made before the clock starts
            begun = time.perf_counter()
            await service.rebuild(batch)
            if not await service.flush(timeout=600):
                raise SystemExit(f"lineage could not be written: {service.health().last_error}")
            paces.append(size / (time.perf_counter() - begun))
            batch = []
            if len(paces) % 10 == 0:
                say(f"  {len(paces) * size} rows, {paces[-1]:.0f} a second")
    return paces


async def _ask(rows: PipelineLineageRepository, count: int) -> list[Row]:
    chance = Random(1)
    written = count // max(1, min(SLICE, count // 2)) * max(1, min(SLICE, count // 2))

    def some_id() -> str:
        return _id(chance.randrange(written - 1))

    def some_execution() -> str:
        return f"{chance.randrange(max(1, written // PER_EXECUTION)):032x}"

    def within(**conditions: Any) -> LineageFilter:
        return LineageFilter(execution_id=some_execution(), **conditions)

    def some_url() -> str:
        return f"example.com/{chance.randrange(written - 1)}"

    def some_order() -> Literal["asc", "desc"]:
        return chance.choice(("asc", "desc"))

    questions: list[tuple[str, str, str, Callable[[], Awaitable[object]]]] = [
        ("Q3", "chain of a row", "≤ 50 ms", lambda: rows.chain(some_id())),
        (
            "Q4",
            "a stage's rows of an execution, by status",
            "≤ 100 ms",
            lambda: rows.list(within(stage="bench_b", status="completed")),
        ),
        ("Q5", "an execution's failures", "≤ 100 ms", lambda: rows.failures(within())),
        ("Q6", "the latest failures of all", "≤ 100 ms", rows.failures),
        ("Q7", "an execution's stats", "≤ 20 ms", lambda: rows.stats(some_execution())),
        (
            "Q8",
            "failed rows of all, by start",
            "≤ 100 ms",
            lambda: rows.list(LineageFilter(status="failed", sort_order=some_order())),
        ),
        (
            "Q9",
            "a stage's rows of all executions",
            "≤ 100 ms",
            lambda: rows.list(LineageFilter(stage="bench_b", sort_order=some_order())),
        ),
        (
            "Q10",
            "rows of a message",
            "≤ 100 ms",
            lambda: rows.list(LineageFilter(message_id=some_id())),
        ),
        (
            "Q11",
            "part of a URL, in an execution",
            "≤ 100 ms",
            lambda: rows.list(within(url=some_url())),
        ),
        (
            "Q12",
            "part of a URL, in all: a page that looks at 20,000 rows",
            "",
            lambda: rows.list(LineageFilter(url=some_url(), sort_order=some_order())),
        ),
        (
            "Q13",
            "failures of an execution, by stage and error",
            "≤ 100 ms",
            lambda: rows.failure_groups(some_execution()),
        ),
    ]
    return [
        Row(name, f"{what}, p95 of {ASKED}", (await _p95(ask),), "ms", target=target)
        for name, what, target, ask in questions
    ]


async def _p95(ask: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(ASKED):
        begun = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - begun) * 1000)
    return p95(took)
