"""Which row stands, and that counters follow, in whatever order rows arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import create_async_engine

from factflow_lineage import (
    LineageService,
    PipelineLineageEntry,
    PipelineLineageRepository,
    create_schema,
)
from factflow_lineage.batch import write_batch
from factflow_lineage.buffer import LineageBuffer
from factflow_lineage.row_values import entries_query
from factflow_lineage.tables import COUNTED, durations, executions, rows, schema, stages

MakeEntry = Callable[..., PipelineLineageEntry]

_PROCESSING = {"status": "processing", "generation": 1, "attempts": 1}
_COMMITTED = {"status": "completed", "generation": 1, "attempts": 1}


_MEETINGS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    (_PROCESSING, _COMMITTED, True),
    ({**_PROCESSING, "generation": 9, "attempts": 9}, _COMMITTED, True),
    ({"status": "cancelled"}, _COMMITTED, True),
    (_COMMITTED, _PROCESSING, False),
    (_COMMITTED, {**_PROCESSING, "generation": 2}, False),
    ({"status": "failed"}, {**_PROCESSING, "attempts": 5}, False),
    ({"status": "failed"}, {"status": "cancelled", "generation": 3}, False),
    (_PROCESSING, {**_PROCESSING, "attempts": 2}, True),
    ({**_PROCESSING, "attempts": 2}, _PROCESSING, False),
    ({**_PROCESSING, "attempts": 5}, {**_PROCESSING, "generation": 2}, True),
    ({**_PROCESSING, "generation": 2}, {**_PROCESSING, "attempts": 5}, False),
    ({**_PROCESSING, "status": "pending"}, _PROCESSING, True),
    (_PROCESSING, {**_PROCESSING, "status": "pending"}, False),
    (_PROCESSING, {**_PROCESSING, "status": "cancelled"}, True),
]
"""What stands, what arrives, and whether that replaces it."""


async def test_which_row_stands(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """A committed row is final; among the others the higher generation, then attempt, wins."""
    for version in ("standing", "arriving"):
        for number, (standing, arriving, _) in enumerate(_MEETINGS):
            fields = standing if version == "standing" else arriving
            whose = {"execution_id": f"exec{number}", "adapter_version": version}
            service.record(make_entry(f"row{number}", **fields, **whose))
        assert await service.flush()
    for number, (_, _, replaced) in enumerate(_MEETINGS):
        entry = await repository.get(f"row{number}")
        expected = "arriving" if replaced else "standing"
        assert entry.adapter_version == expected, _MEETINGS[number]
        (stage,) = await repository.stats(f"exec{number}")
        assert stage.count == 1


@st.composite
def _histories(draw: st.DrawFn) -> tuple[list[PipelineLineageEntry], list[PipelineLineageEntry]]:
    """All entries that some rows of one tree ever had, and the same in another order, repeated."""
    entries: list[PipelineLineageEntry] = []
    count = draw(st.integers(1, 6))
    for number in range(count):
        common: dict[str, Any] = {
            "id": f"row{number}",
            "execution_id": "exec",
            "route_id": "crawl",
            "stage": draw(st.sampled_from(["fetch", "parse"])),
            "message_id": f"m{number}",
            "origin_id": f"o{number}",
            "parent_id": f"row{draw(st.integers(0, number - 1))}" if number else None,
        }
        for _ in range(draw(st.integers(0, 3))):
            entries.append(
                PipelineLineageEntry(
                    **common,
                    adapter=draw(st.sampled_from(["old", "new"])),
                    status=draw(st.sampled_from(["pending", "processing", "cancelled"])),
                    generation=draw(st.integers(1, 2)),
                    attempts=draw(st.integers(1, 2)),
                    started_at=float(len(entries)),
                )
            )
        if draw(st.booleans()):
            outcome = draw(st.sampled_from(["stored", "filtered", "failed"]))
            entries.append(
                PipelineLineageEntry(
                    **common,
                    adapter="new",
                    status="failed" if outcome == "failed" else "completed",
                    outcome=outcome,
                    duration_ms=draw(st.floats(0, 1e6)),
                    expected_children=draw(st.integers(0, 3)),
                    continues=draw(st.booleans()),
                )
            )
    repeated = entries + draw(
        st.lists(st.sampled_from(entries), max_size=5) if entries else st.just([])
    )
    return entries, draw(st.permutations(repeated))


_NAMES = [executions.c.execution_id, stages.c.route_id, stages.c.stage, stages.c.adapter]
_STAGES = stages.join(executions, executions.c.number == stages.c.execution_number)
_CONTENTS: dict[str, sa.Select[Any]] = {
    "rows": entries_query().add_columns(rows.c.unfinished).order_by(rows.c.id),
    "counters": sa.select(*_NAMES, *(stages.c[name] for name in (*COUNTED, "duration_us")))
    .select_from(_STAGES)
    .where(sa.or_(*(stages.c[name] != 0 for name in COUNTED)))
    .order_by(*_NAMES),
    "durations": sa.select(*_NAMES, durations.c.bucket, durations.c.rows)
    .select_from(_STAGES.join(durations, durations.c.stage_number == stages.c.number))
    .order_by(*_NAMES, durations.c.bucket),
}
"""What is in the tables, but for numbers, which depend on who came first."""


Batches = Sequence[Sequence[PipelineLineageEntry]]


async def _final_state(batches: Batches, url: str = "sqlite+aiosqlite://") -> dict[str, Any]:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            await create_schema(connection)
            for table in schema.sorted_tables:
                await connection.execute(sa.delete(table))
            await connection.commit()
            for batch in batches:
                buffer = LineageBuffer(1000)
                for entry in batch:
                    buffer.put(msgspec.structs.replace(entry))
                await write_batch(connection, buffer.head(1000))
                await connection.commit()
            state: dict[str, Any] = {}
            for name, query in _CONTENTS.items():
                state[name] = [tuple(row) for row in await connection.execute(query)]
            return state
    finally:
        await engine.dispose()


def _split(
    entries: Sequence[PipelineLineageEntry], size: int
) -> list[Sequence[PipelineLineageEntry]]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]


@settings(max_examples=60, deadline=None)
@given(_histories(), st.integers(1, 8))
def test_order_and_repeats_do_not_matter(
    history: tuple[list[PipelineLineageEntry], list[PipelineLineageEntry]], size: int
) -> None:
    """Rows, counters and histograms end the same, however entries are ordered, doubled and batched."""
    in_order, shuffled = history
    expected = asyncio.run(_final_state(_split(in_order, 1)))
    assert asyncio.run(_final_state(_split(shuffled, size))) == expected


@settings(max_examples=12, deadline=None)
@given(_histories(), st.integers(1, 8))
def test_both_databases_end_the_same(
    postgres_url: str,
    history: tuple[list[PipelineLineageEntry], list[PipelineLineageEntry]],
    size: int,
) -> None:
    """To the last column, whatever there is to be written."""
    in_order, shuffled = history
    expected = asyncio.run(_final_state([in_order]))
    assert asyncio.run(_final_state(_split(shuffled, size), postgres_url)) == expected


async def test_same_batch_twice_moves_no_counter(make_entry: MakeEntry) -> None:
    """Writing a batch again, as after a crash between commit and forgetting it, changes nothing."""
    batch = [
        make_entry("root", expected_children=2),
        make_entry("a", parent_id="root"),
        make_entry("b", parent_id="root", status="processing"),
    ]
    assert await _final_state([batch, batch]) == await _final_state([batch])
