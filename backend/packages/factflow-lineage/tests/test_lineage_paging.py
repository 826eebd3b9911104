"""Pages by cursor, and searches that look at a bounded number of rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

import pytest

from factflow_foundation.records import ErrorInfo
from factflow_lineage import (
    LineageFilter,
    LineageFilterError,
    LineageService,
    MetadataCondition,
    PipelineLineageEntry,
    PipelineLineageRepository,
    row_walk,
)
from factflow_lineage.listing import MERGED_STAGES

MakeEntry = Callable[..., PipelineLineageEntry]
ROWS = 60


@pytest.fixture
async def many(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> PipelineLineageRepository:
    """Rows of two executions and many stages, several of the same start; each third one failed."""
    for number in range(ROWS):
        failed = number % 3 == 0
        kind = ("TimeoutError", "ValueError")[number % 2]
        service.record(
            make_entry(
                f"row{number}",
                execution_id=f"exec{number % 2}",
                stage=f"stage{number % 40}",
                started_at=1000.0 + number // 4,
                status="failed" if failed else "completed",
                outcome="failed" if failed else ("stored", "filtered")[number % 2],
                error=ErrorInfo(kind, "no") if failed else None,
                metadata={
                    "n": number,
                    "even": number % 2 == 0,
                    "page": {"lang": "en-GB", "no": number},
                    "tags": ["a", f"tag{number}"],
                    "mixed": (number, str(number), number == 1, None)[number % 4],
                },
            )
        )
    assert await service.flush()
    return repository


async def _all_pages(
    ask: Callable[[LineageFilter], Any], limit: int, **conditions: Any
) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await ask(LineageFilter(**conditions, limit=limit, cursor=cursor))
        found += [entry.id for entry in page.entries]
        if page.next_cursor is None:
            assert not page.has_more
            return found
        cursor = page.next_cursor


_LISTINGS: list[dict[str, Any]] = [
    {},
    {"execution_id": "exec1"},
    {"status": "failed"},
    {"status": "completed", "execution_id": "exec0"},
    {"route_id": "crawl"},
    {"execution_id": "exec0", "route_id": "crawl"},
    {"execution_id": "exec0", "stage": "stage0"},
    {"execution_id": "exec0", "stage": "stage0", "status": "failed"},
    {"started_after": 1003.0, "started_before": 1009.0},
    {"outcome": "filtered"},
    {"error_type": "TimeoutError", "execution_id": "exec0"},
    {"where": (MetadataCondition("even", "true"),)},
]


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
async def test_pages_by_cursor_are_the_whole_listing(
    many: PipelineLineageRepository, sort_order: Literal["asc", "desc"]
) -> None:
    """Whatever it is narrowed by, however small the pages: each row once, in the order of one page."""
    for conditions in _LISTINGS:
        whole = await many.list(LineageFilter(**conditions, sort_order=sort_order, limit=1000))
        assert whole.entries, conditions
        assert whole.total == len(whole.entries), conditions
        by_page = await _all_pages(many.list, 3, **conditions, sort_order=sort_order)
        assert by_page == [entry.id for entry in whole.entries], conditions


async def test_more_stages_than_are_merged_are_found(many: PipelineLineageRepository) -> None:
    """Stages of one adapter, in more places than indexes are read side by side."""
    assert MERGED_STAGES < 40
    page = await many.list(LineageFilter(adapter="web_scraper", limit=1000))
    assert len(page.entries) == ROWS


async def test_failures_take_every_filter_and_pages(many: PipelineLineageRepository) -> None:
    """By execution, stage, error class, metadata and the time of failing; latest first."""
    everything = await _all_pages(many.failures, 4)
    assert everything == [f"row{number}" for number in range(57, -1, -3)]
    assert await _all_pages(many.failures, 4, execution_id="exec1") == [
        f"row{number}" for number in range(57, -1, -6)
    ]
    assert await _all_pages(many.failures, 2, error_type="ValueError", stage="stage3") == ["row3"]
    recent = await many.failures(LineageFilter(started_after=1013.0))
    assert [entry.id for entry in recent.entries] == ["row57", "row54"]
    assert recent.total == 2
    found = await many.failures(LineageFilter(where=(MetadataCondition("n", "9"),)))
    assert [entry.id for entry in found.entries] == ["row9"]


async def test_rows_that_come_meanwhile_move_no_page(
    many: PipelineLineageRepository, service: LineageService, make_entry: MakeEntry
) -> None:
    """Going down from the newest row, a page goes on where the last one ended."""
    first = await many.list(LineageFilter(sort_order="desc", limit=10))
    for number in range(5):
        service.record(make_entry(f"new{number}", started_at=5000.0))
    assert await service.flush()
    second = await many.list(LineageFilter(sort_order="desc", limit=10, cursor=first.next_cursor))
    assert [entry.id for entry in second.entries] == [f"row{n}" for n in range(49, 39, -1)]


async def test_children_are_paged_by_cursor(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """In the order they were first written."""
    service.record(make_entry("root", expected_children=5))
    for number in range(5):
        service.record(make_entry(f"row{number}", parent_id="root"))
    assert await service.flush()
    first = await repository.children("root", limit=3)
    rest = await repository.children("root", limit=3, cursor=first.next_cursor)
    shown = [entry.id for entry in (*first.entries, *rest.entries)]
    assert shown == [f"row{number}" for number in range(5)]
    assert (first.total, rest.total, rest.next_cursor) == (5, 5, None)


async def test_a_search_looks_at_a_bounded_number_of_rows_and_goes_on(
    many: PipelineLineageRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page without a match says how many rows were looked at, and its cursor leads to the match."""
    monkeypatch.setattr(row_walk, "SCAN_LIMIT", 25)
    monkeypatch.setattr(row_walk, "FIRST_WINDOW", 10)
    wanted = (MetadataCondition("n", "55"),)
    page = await many.list(LineageFilter(where=wanted))
    assert (page.entries, page.scanned, page.total, page.has_more) == ((), 25, None, True)
    assert await _all_pages(many.list, 10, where=wanted) == ["row55"]


async def test_rows_are_not_counted_one_by_one_when_there_are_very_many(
    many: PipelineLineageRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The total is left open then; those that counters know are told all the same."""
    monkeypatch.setattr("factflow_lineage.listing.COUNT_LIMIT", 20)
    page = await many.list(LineageFilter(started_after=1000.0, limit=5))
    assert (page.total, len(page.entries), page.scanned) == (None, 5, 6)
    assert (await many.list(LineageFilter(execution_id="exec0"))).total == ROWS // 2


_MATCHES = {
    "n=7": 1,
    "n=7.0": 1,
    "even=true": ROWS // 2,
    "page.lang=en-GB": ROWS,
    "page.lang=en": 0,
    "page.lang=EN-gb": 0,
    "page.no=7.0": 1,
    "page.no.deeper=7": 0,
    'page={"lang":"en-GB","no":7}': 1,
    "even=1": 0,
    "n=true": 0,
    "n=1": 1,
    "n=1e0": 1,
    "mixed=1": 1,
    "mixed=4": 1,
    "mixed=4.0": 1,
    "mixed=5.0": 0,
    "mixed=true": 0,
    "mixed=false": ROWS // 4,
    "mixed=null": 0,
    "tags.0=a": 0,
    "tags=a": 0,
    "nothing=": 0,
    "n=' OR 1=1 --": 0,
    "n=99999999999999999999999": 0,
    "page=\ud800": 0,
}


async def test_a_metadata_field_is_compared_as_a_whole(many: PipelineLineageRepository) -> None:
    """As text or as JSON, within objects by dots; how many rows there are of each."""
    found = {}
    for text in _MATCHES:
        where = (MetadataCondition.parse(text),)
        found[text] = len((await many.list(LineageFilter(where=where, limit=1000))).entries)
    assert found == _MATCHES


@pytest.mark.parametrize("text", ["", "key", "=value", 'a"b=c', "a.=c", "a'b=c", "x" * 101 + "=1"])
def test_a_condition_without_a_field_is_refused(text: str) -> None:
    """Before anything reaches the database."""
    with pytest.raises(LineageFilterError):
        MetadataCondition.parse(text)


async def test_a_cursor_of_something_else_is_refused(many: PipelineLineageRepository) -> None:
    """Rubbish, a cursor of another order, and one beside an offset."""
    page = await many.list(LineageFilter(limit=3))
    rubbish = ["", "x", "W10", "é", str(random.Random(1).random())]
    for cursor in rubbish:
        with pytest.raises(LineageFilterError):
            await many.list(LineageFilter(cursor=cursor))
    with pytest.raises(LineageFilterError):
        await many.failures(LineageFilter(cursor=page.next_cursor))
    with pytest.raises(LineageFilterError):
        await many.list(LineageFilter(sort_order="desc", cursor=page.next_cursor))
    with pytest.raises(LineageFilterError):
        LineageFilter(offset=1, cursor=page.next_cursor)
