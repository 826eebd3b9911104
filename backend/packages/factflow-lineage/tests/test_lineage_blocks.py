"""Rows are found wherever they stand, and whoever came first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from factflow_lineage import (
    LineageFilter,
    LineageService,
    PipelineLineageEntry,
    PipelineLineageRepository,
    create_schema,
)
from factflow_lineage import stage_numbers as numbering
from factflow_lineage.batch import write_entries
from factflow_lineage.statements import SQLiteStatements
from factflow_lineage.tables import rows

MakeEntry = Callable[..., PipelineLineageEntry]
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def spread(
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: MakeEntry,
    monkeypatch: pytest.MonkeyPatch,
    open_engine: Callable[[], AsyncEngine],
) -> PipelineLineageRepository:
    """Five executions of three rows each, a replay of the one before, in blocks of two rows."""
    monkeypatch.setattr(numbering, "ROWS_PER_BLOCK", 2)
    for run in range(5):
        names = [f"{part}{run}" for part in "abc"]
        above: list[str | None] = [None, *names]
        for name, parent in zip(names, above, strict=False):
            service.record(
                make_entry(
                    name,
                    execution_id=f"run{run}",
                    message_id=f"message{run}",
                    parent_id=parent,
                    replayed_from=f"c{run - 1}" if run and parent is None else None,
                    expected_children=int(not name.startswith("c")),
                )
            )
        assert await service.flush()
    async with open_engine().connect() as connection:
        blocks = await connection.execute(sa.select(rows.c.block).distinct())
        assert len(blocks.all()) > 3
    return repository


async def test_ids_are_found_in_every_block(spread: PipelineLineageRepository) -> None:
    """By row and by message, the first block's like the last one's."""
    for run in range(5):
        assert (await spread.get(f"b{run}")).execution_id == f"run{run}"
        assert (await spread.get(f"message{run}")).id == f"c{run}"
        page = await spread.list(LineageFilter(message_id=f"message{run}"))
        assert [entry.id for entry in page.entries] == [f"a{run}", f"b{run}", f"c{run}"]
        assert page.total == 3


async def test_a_chain_crosses_blocks_with_its_replays(spread: PipelineLineageRepository) -> None:
    """Up to the row that everything began with, each row once."""
    chain = await spread.chain("b4", across_replays=True)
    expected = [f"{part}{run}" for run in range(4) for part in "abc"]
    assert [entry.id for entry in chain.ancestors] == [*expected, "a4"]
    assert [below.entry.id for below in chain.descendants] == ["c4"]


@pytest.mark.parametrize("order", ["abcd", "dcba", "bdac", "cadb"])
async def test_children_that_came_before_their_parent(
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: MakeEntry,
    order: str,
) -> None:
    """A message's rows, each in a write of its own, are one chain in the end, in any order."""
    for name in order:
        service.record(
            make_entry(
                name,
                message_id="message",
                parent_id=None if name == "a" else chr(ord(name) - 1),
                expected_children=int(name != "d"),
                started_at=float(ord(name)),
            )
        )
        assert await service.flush()
    chain = await repository.chain("b")
    assert [entry.id for entry in chain.ancestors] == ["a"]
    assert [(below.depth, below.entry.id) for below in chain.descendants] == [(1, "c"), (2, "d")]
    assert [entry.id for entry in (await repository.children("c")).entries] == ["d"]
    assert (await repository.get("message")).id == "d"
    page = await repository.list(LineageFilter(message_id="message"))
    assert [(entry.id, entry.status) for entry in page.entries] == [
        (name, "completed") for name in "abcd"
    ]


async def test_a_deep_chain_is_walked_to_its_end(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """Each row at its depth, whatever the first levels look like."""
    for depth in range(40):
        parent = f"row{depth - 1}" if depth else None
        service.record(make_entry(f"row{depth}", parent_id=parent, expected_children=1))
    assert await service.flush()
    chain = await repository.chain("row1")
    assert [(below.depth, below.entry.id) for below in chain.descendants] == [
        (depth - 1, f"row{depth}") for depth in range(2, 40)
    ]
    assert not chain.truncated


async def test_totals_by_status_follow_the_last_child(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """What waits for a child counts as processing, whether it is asked for or counted."""
    service.record(make_entry("a", stage="first", expected_children=1))
    service.record(make_entry("b", parent_id="a", status="processing"))
    assert await service.flush()

    async def totals(**more: Any) -> list[int]:
        wanted = ("completed", "processing", "failed")
        filters = [LineageFilter(status=status, **more) for status in wanted]
        return [(await repository.list(one)).total or 0 for one in filters]

    assert await totals() == [0, 2, 0]
    assert await totals(stage="first") == [0, 1, 0]
    service.record(make_entry("b", parent_id="a", status="failed"))
    assert await service.flush()
    assert await totals() == [1, 0, 1]
    assert await totals(stage="first", execution_id="exec") == [1, 0, 0]


class _Counted(SQLiteStatements):
    statements = 0

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.statements += 1
        return super().fetch(sql, values)

    def run_each(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        self.statements += len(values)
        super().run_each(sql, values)


@on_sqlite
async def test_a_batch_takes_a_few_statements_whatever_its_size(
    open_engine: Callable[[], AsyncEngine], make_entry: MakeEntry, path: Path
) -> None:
    """One per ninety rows for the rows, and a handful for all the rest."""
    await create_schema(open_engine())
    with sqlite3.connect(path) as connection:
        counted = _Counted(connection)
        chain = [
            make_entry(f"row{n}", parent_id=f"row{n - 1}" if n else None, expected_children=1)
            for n in range(900)
        ]
        write_entries(counted, chain)
    assert counted.statements <= 900 / 90 + 10


@on_sqlite
async def test_a_database_of_an_earlier_version_is_set_aside(
    open_engine: Callable[[], AsyncEngine], make_entry: MakeEntry, path: Path
) -> None:
    """It is kept, new rows are written, and whoever fills gaps learns that all are to be made again."""
    with sqlite3.connect(path) as older:
        older.execute("CREATE TABLE lineage_rows (id TEXT PRIMARY KEY, execution_id TEXT)")
        older.execute("INSERT INTO lineage_rows VALUES ('before', 'exec')")
    service = LineageService(open_engine(), flush_interval=0.01)
    await service.start()
    assert service.lost
    assert service.gap_noted.is_set()
    service.record(make_entry("after"))
    assert await service.flush()
    await service.close()
    reading = create_async_engine(f"sqlite+aiosqlite:///{path}")
    page = await PipelineLineageRepository(reading).list()
    await reading.dispose()
    assert [entry.id for entry in page.entries] == ["after"]
    with sqlite3.connect(path.with_name("lineage.db.older")) as aside:
        assert aside.execute("SELECT id FROM lineage_rows").fetchall() == [("before",)]
