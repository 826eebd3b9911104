"""A parent is never shown finished over unfinished children."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import create_async_engine

from factflow_lineage import (
    LineageFilter,
    LineageService,
    PipelineLineageEntry,
    PipelineLineageRepository,
    create_schema,
)
from factflow_lineage.batch import write_batch
from factflow_lineage.buffer import LineageBuffer

MakeEntry = Callable[..., PipelineLineageEntry]


@dataclass
class Tree:
    parents: list[int | None]
    failed: list[bool]
    events: list[tuple[int, bool]]
    """(row, committed?) in the order they arrive."""
    batch_size: int

    def children(self, row: int) -> list[int]:
        return [child for child, parent in enumerate(self.parents) if parent == row]

    def complete(self, row: int, committed: set[int]) -> bool:
        return row in committed and all(
            self.complete(child, committed) for child in self.children(row)
        )

    def entry(self, row: int, *, committed: bool) -> PipelineLineageEntry:
        parent = self.parents[row]
        status = ("failed" if self.failed[row] else "completed") if committed else "processing"
        return PipelineLineageEntry(
            id=f"row{row}",
            execution_id="exec",
            route_id="crawl",
            stage="fetch",
            adapter="web_scraper",
            message_id=f"m{row}",
            origin_id=f"o{row}",
            parent_id=None if parent is None else f"row{parent}",
            status=status,  # type: ignore[arg-type]  # one of the three, by the line above
            expected_children=len(self.children(row)),
        )


@st.composite
def _trees(draw: st.DrawFn) -> Tree:
    count = draw(st.integers(1, 14))
    parents = [draw(st.integers(0, row - 1)) if row else None for row in range(count)]
    failed = [draw(st.booleans()) for _ in range(count)]
    events = [(row, committed) for row in range(count) for committed in (False, True)]
    repeats = draw(st.lists(st.sampled_from(events), max_size=6))
    arrival = draw(st.permutations(events + repeats))
    return Tree(parents, failed, arrival, draw(st.integers(1, 12)))


async def _replay(tree: Tree) -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    try:
        await create_schema(engine)
        repository = PipelineLineageRepository(engine)
        committed: set[int] = set()
        for start in range(0, len(tree.events), tree.batch_size):
            buffer = LineageBuffer(1000)
            for row, is_committed in tree.events[start : start + tree.batch_size]:
                buffer.put(tree.entry(row, committed=is_committed))
                committed |= {row} if is_committed else set()
            async with engine.begin() as connection:
                await write_batch(connection, buffer.head(1000))
            await _check(tree, repository, committed)
        assert committed == set(range(len(tree.parents)))
    finally:
        await engine.dispose()


async def _check(tree: Tree, repository: PipelineLineageRepository, committed: set[int]) -> None:
    for entry in (await repository.list()).entries:
        row = int(entry.id.removeprefix("row"))
        if row not in committed:
            assert entry.status == "processing"
            continue
        complete = tree.complete(row, committed)
        assert (entry.pending_children == 0) is complete
        if tree.failed[row]:
            assert entry.status == "failed"
        else:
            assert entry.status == ("completed" if complete else "processing")
    finished = await repository.list(LineageFilter(status="completed"))
    assert {entry.id for entry in finished.entries} == {
        f"row{row}"
        for row in range(len(tree.parents))
        if not tree.failed[row] and tree.complete(row, committed)
    }


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(_trees())
def test_no_finished_parent_over_unfinished_children(tree: Tree) -> None:
    """Whatever the tree and the order of arrival: after each batch a row reads completed exactly
    when it and all below it are; in the end all are."""
    asyncio.run(_replay(tree))


async def _statuses(repository: PipelineLineageRepository, names: Sequence[str]) -> list[str]:
    return [(await repository.get(name)).status for name in names]


async def test_the_last_grandchild_completes_the_chain_above_it(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """A completed stage reads processing, with its own outcome, until the last row below it ends."""
    service.record(make_entry("root", expected_children=1, outcome="fanned_out"))
    service.record(make_entry("child", parent_id="root", expected_children=1))
    assert await service.flush()
    assert await _statuses(repository, ["root", "child"]) == ["processing", "processing"]
    assert (await repository.get("root")).outcome == "fanned_out"
    service.record(make_entry("grandchild", parent_id="child", status="failed"))
    assert await service.flush()
    assert await _statuses(repository, ["root", "child", "grandchild"]) == [
        "completed",
        "completed",
        "failed",
    ]
