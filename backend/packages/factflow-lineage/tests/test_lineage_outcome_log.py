"""Committed outcomes in the order in which they were written, page by page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_lineage import (
    LineageService,
    PipelineLineageEntry,
    PipelineLineageRepository,
    outcome_log,
)
from factflow_lineage.errors import EventUnknownError
from factflow_lineage.tables import late_ends

Make = Callable[..., PipelineLineageEntry]


async def _all(repository: PipelineLineageRepository, after: int = 0, limit: int = 2) -> list[str]:
    """Follow the log to its end in small pages."""
    told: list[str] = []
    while True:
        page = await repository.outcomes("exec", after, limit=limit)
        assert page.reached > after or page.complete
        told += [str(outcome.told["lineage_id"]) for outcome in page.outcomes]
        after = page.reached
        if page.complete:
            return told


async def test_a_row_that_was_there_before_its_outcome_comes_where_it_ended(
    service: LineageService, repository: PipelineLineageRepository, make_entry: Make
) -> None:
    """Once, behind what had been told by then, and not where it began."""
    for name, status in (("long", "processing"), ("a", "completed"), ("b", "failed")):
        service.record(make_entry(name, status=status))
    assert await service.flush()
    assert await _all(repository) == ["a", "b"]
    number, name = await repository.outcome_place("exec", None)
    service.record(make_entry("long"))
    service.record(make_entry("c"))
    assert await service.flush()
    assert await _all(repository, number) == ["long", "c"]
    assert await _all(repository) == ["a", "b", "long", "c"]
    assert await repository.outcome_place("exec", name) == (number, name)
    last, _ = await repository.outcome_place("exec", None)
    assert await _all(repository, last) == []


async def test_what_others_wrote_is_left_out_and_jumped_over(
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcome_log, "NUMBERS_PER_STEP", 3)
    service.record(make_entry("first"))
    for n in range(40):
        service.record(make_entry(f"other{n}", execution_id="other"))
    service.record(make_entry("last", status="processing"))
    for n in range(40, 80):
        service.record(make_entry(f"other{n}", execution_id="other"))
    assert await service.flush()
    assert await _all(repository) == ["first"]
    service.record(make_entry("last"))
    assert await service.flush()
    assert await _all(repository) == ["first", "last"]
    page = await repository.outcomes("exec", 1)
    assert page.reached == 41, "one look at the index instead of a dozen steps"


async def test_a_place_is_known_by_what_stands_there(
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: Make,
    open_engine: Callable[[], AsyncEngine],
) -> None:
    """A number alone would mislead: another database may have given it to something else."""
    service.record(make_entry("a"))
    service.record(make_entry("b", execution_id="other"))
    assert await service.flush()
    _, name = await repository.outcome_place("exec", None)
    _, others = await repository.outcome_place("other", None)
    for wrong in (others, name + "0", "1", "2-" + name[2:], "one", ""):
        with pytest.raises(EventUnknownError):
            await repository.outcome_place("exec", wrong)
    async with open_engine().begin() as connection:
        await connection.execute(sa.text("UPDATE lineage_identity SET name = 'made anew'"))
    with pytest.raises(EventUnknownError):
        await repository.outcome_place("exec", name)


async def test_deleting_an_execution_forgets_its_late_ends(
    service: LineageService, make_entry: Make, open_engine: Callable[[], AsyncEngine]
) -> None:
    """The number of a row may be given again, and must not find the end of another."""
    service.record(make_entry("long", status="processing"))
    assert await service.flush()
    service.record(make_entry("long"))
    assert await service.flush()
    assert await service.delete_execution("exec") == 1
    async with open_engine().connect() as connection:
        assert (await connection.execute(sa.select(late_ends))).all() == []
