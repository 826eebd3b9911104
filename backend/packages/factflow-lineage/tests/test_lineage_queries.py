"""What the repository answers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from factflow_foundation.records import ErrorInfo
from factflow_lineage import (
    LineageFilter,
    LineageFilterError,
    LineageNotFoundError,
    LineageService,
    LineageUnavailableError,
    PipelineLineageEntry,
    PipelineLineageRepository,
)
from factflow_lineage.chain import CHAIN_LIMIT
from factflow_lineage.stats import StageStats
from factflow_testing.waiting import eventually

MakeEntry = Callable[..., PipelineLineageEntry]


@pytest.fixture
async def crawl(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> PipelineLineageRepository:
    """A sitemap fans out into three pages; one page fails, one is still being fetched."""
    pages = {"expected_children": 1, "continues": True, "batch_id": "batch-1"}
    for entry in [
        make_entry("sitemap", stage="expand", outcome="fanned_out", expected_children=3),
        make_entry("page1", parent_id="sitemap", started_at=1001.0, message_id="m1", **pages),
        make_entry("stored1", parent_id="page1", stage="store", started_at=1001.0, message_id="m1"),
        make_entry(
            "page2",
            parent_id="sitemap",
            status="failed",
            started_at=1002.0,
            error=ErrorInfo("TimeoutError", "slow", "line 1"),
        ),
        make_entry("page3", parent_id="sitemap", status="processing", started_at=1003.0),
        make_entry(
            "again",
            execution_id="replay",
            replayed_from="page2",
            status="failed",
            started_at=2000.0,
            expected_children=0,
        ),
        make_entry("below", execution_id="replay", parent_id="again", started_at=2001.0),
    ]:
        service.record(entry)
    assert await service.flush()
    return repository


_LISTINGS: list[tuple[dict[str, Any], str]] = [
    ({}, "sitemap page1 stored1 page2 page3 again below"),
    ({"execution_id": "replay"}, "again below"),
    ({"execution_id": "exec", "sort_order": "desc"}, "page3 page2 stored1 page1 sitemap"),
    ({"stage": "store"}, "stored1"),
    ({"adapter": "nobody"}, ""),
    ({"route_id": "crawl", "stage": "expand"}, "sitemap"),
    ({"status": "failed"}, "page2 again"),
    ({"status": "completed"}, "page1 stored1 below"),
    ({"status": "processing"}, "sitemap page3"),
    ({"is_root": True}, "sitemap again"),
    ({"is_root": False, "execution_id": "replay"}, "below"),
    ({"message_id": "m1"}, "page1 stored1"),
    ({"batch_id": "batch-1"}, "page1"),
    ({"error_type": "TimeoutError"}, "page2"),
    ({"started_after": 1002.0, "started_before": 1003.0}, "page2 page3"),
    ({"execution_id": "exec", "limit": 2, "offset": 1}, "page1 stored1"),
    ({"execution_id": ""}, ""),
    ({"message_id": ""}, ""),
    ({"execution_id": "' OR 1=1 --"}, ""),
]


async def test_listing_by_filter(crawl: PipelineLineageRepository) -> None:
    """Each filter finds its rows, in order; the total counts all that match."""
    for conditions, expected in _LISTINGS:
        page = await crawl.list(LineageFilter(**conditions))
        assert [entry.id for entry in page.entries] == expected.split(), conditions
        everything = await crawl.list(LineageFilter(**{**conditions, "limit": 1000, "offset": 0}))
        assert page.total == len(everything.entries), conditions
        assert page.has_more is (page.offset + len(page.entries) < page.total), conditions


_TITLES = [
    "100% wool",
    "100 wool",
    "snake_case",
    "snakeXcase",
    "it's; DROP TABLE lineage_rows; --",
    'say "hi"',
    "back\\slash",
    "for/ward",
    "ÜBERGRÖßE Ä",
    "日本語",
    "",
]


_PARTS = [
    *("%", "_", "100%", "snake_", "WOOL", "it's;", '"HI"', "\\", "/", "übergröße", "ä", "日本"),
    *("", "' OR '1'='1", "[a-z]*", "nul\0", "\ud800", "x" * 10_000),
]


@pytest.mark.parametrize("field", ["title", "url"])
async def test_search_finds_exactly_the_part_asked_for(
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: MakeEntry,
    field: str,
) -> None:
    """Wildcards, quotes and letters of any alphabet mean themselves, whatever the case."""
    for number, title in enumerate(_TITLES):
        service.record(make_entry(f"row{number}", metadata={field: title}))
    service.record(make_entry("without"))
    assert await service.flush()
    for part in _PARTS:
        search: dict[str, Any] = {field: part}
        page = await repository.list(LineageFilter(**search))
        found = {entry.metadata[field] for entry in page.entries}
        assert found == {title for title in _TITLES if part.lower() in title.lower()}, part


@pytest.mark.parametrize(
    "conditions",
    [
        {"limit": 0},
        {"limit": 10_001},
        {"offset": -1},
        {"offset": 2**70},
        {"status": "done"},
        {"sort_order": "up"},
        {"started_after": float("nan")},
    ],
)
def test_a_filter_that_means_nothing_is_refused(conditions: dict[str, Any]) -> None:
    """The error has a code and names the value."""
    with pytest.raises(LineageFilterError) as refused:
        LineageFilter(**conditions)
    assert refused.value.code == "invalid_request"
    assert next(iter(conditions)).split("_")[0] in refused.value.message


async def test_a_message_id_stands_for_its_furthest_row(crawl: PipelineLineageRepository) -> None:
    """Also when two stages started within the same clock tick."""
    assert (await crawl.get("m1")).id == "stored1"
    assert (await crawl.get("page1")).id == "page1"


async def test_an_unknown_id_is_not_found(crawl: PipelineLineageRepository) -> None:
    """The error has a code and a hint."""
    unknown = ["nobody", "", "nul\0", "\ud800", "' OR 1=1 --"]
    questions: list[Callable[[str], Awaitable[Any]]] = [crawl.get, crawl.chain, crawl.children]
    for question, name in itertools.product(questions, unknown):
        with pytest.raises(LineageNotFoundError) as missing:
            await question(name)
        assert missing.value.code == "lineage_not_found"
        assert missing.value.hint


async def test_a_chain_shows_where_from_and_where_to(crawl: PipelineLineageRepository) -> None:
    """Ancestors root first, descendants breadth first with their depth, effective statuses."""
    chain = await crawl.chain("stored1")
    assert [(entry.id, entry.status) for entry in chain.ancestors] == [
        ("sitemap", "processing"),
        ("page1", "completed"),
    ]
    assert (chain.entry.id, chain.descendants, chain.truncated) == ("stored1", (), False)
    chain = await crawl.chain("sitemap")
    assert [(below.depth, below.entry.id) for below in chain.descendants] == [
        (1, "page1"),
        (1, "page2"),
        (1, "page3"),
        (2, "stored1"),
    ]


async def test_a_chain_stays_within_its_execution_unless_asked(
    crawl: PipelineLineageRepository,
) -> None:
    """Across replays it goes on through the row that was replayed, up to the first root."""
    within = await crawl.chain("below")
    assert [entry.id for entry in within.ancestors] == ["again"]
    across = await crawl.chain("below", across_replays=True)
    assert [entry.id for entry in across.ancestors] == ["sitemap", "page2", "again"]


async def test_a_wide_chain_is_cut_off_and_says_so(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """A fan-out of more rows than a chain shows: `truncated`, and its children can be paged."""
    count = CHAIN_LIMIT + 5
    service.record(make_entry("root", expected_children=count))
    for number in range(count):
        service.record(make_entry(f"row{number}", parent_id="root", started_at=1000.0 + number))
    assert await service.flush(timeout=20)
    chain = await repository.chain("root")
    assert (len(chain.descendants), chain.truncated) == (CHAIN_LIMIT, True)
    page = await repository.children("root", limit=10, offset=CHAIN_LIMIT)
    assert page.total == count
    assert [entry.id for entry in page.entries] == [f"row{CHAIN_LIMIT + n}" for n in range(5)]
    assert not page.has_more


async def test_a_circle_in_damaged_data_ends(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """Rows that name each other, or themselves, are shown once and never complete."""
    service.record(make_entry("a", parent_id="b", expected_children=1))
    service.record(make_entry("b", parent_id="a", expected_children=1))
    service.record(make_entry("self", parent_id="self", expected_children=1))
    assert await service.flush()
    chain = await repository.chain("a")
    assert [entry.id for entry in chain.ancestors] == ["b"]
    assert [below.entry.id for below in chain.descendants] == ["b"]
    assert (await repository.get("self")).status == "processing"


async def test_failures_come_latest_first(crawl: PipelineLineageRepository) -> None:
    """Across executions or within one, with the error and its traceback."""
    page = await crawl.failures()
    assert [entry.id for entry in page.entries] == ["again", "page2"]
    page = await crawl.failures(LineageFilter(execution_id="exec", limit=1))
    assert (page.total, [entry.id for entry in page.entries]) == (1, ["page2"])
    assert page.entries[0].error == ErrorInfo("TimeoutError", "slow", "line 1")


async def test_stats_count_rows_by_stage(crawl: PipelineLineageRepository) -> None:
    """One line per stage, sorted; an unknown execution has none."""
    stats = await crawl.stats("exec")
    assert [(s.stage, s.count, s.completed, s.failed) for s in stats] == [
        ("expand", 1, 1, 0),
        ("fetch", 3, 1, 1),
        ("store", 1, 1, 0),
    ]
    assert await crawl.stats("nobody") == ()


async def test_totals_are_of_the_rows_that_match(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """Counters and rows tell the same of one execution; over all they are summed; a status and a time
    narrow them, durations included."""
    for number in range(40):
        failed = number % 10 == 9
        service.record(
            make_entry(
                f"r{number}",
                execution_id="early" if number < 20 else "late",
                stage="fetch" if number % 2 else "clean",
                status="failed" if failed else "completed",
                outcome="failed" if failed else "filtered" if number % 10 == 4 else "stored",
                duration_ms=1000.0 if failed else 0.9 * 2**number,
                started_at=1000.0 + number,
            )
        )
    service.record(make_entry("under way", execution_id="late", status="processing"))
    assert await service.flush()

    async def totals(**conditions: Any) -> Sequence[StageStats]:
        return await repository.totals(LineageFilter(**conditions))

    def told(found: Sequence[StageStats]) -> list[tuple[str, int, int, int, int]]:
        return [(s.stage, s.count, s.completed, s.failed, s.filtered) for s in found]

    assert await totals(execution_id="early") == await repository.stats("early")
    assert told(await totals()) == [("clean", 20, 20, 0, 4), ("fetch", 21, 16, 4, 0)]
    assert told(await totals(stage="clean", route_id="crawl")) == [("clean", 20, 20, 0, 4)]
    assert await totals(adapter="nobody") == ()
    by_rows = await totals(started_after=0.0)
    assert told(by_rows) == told(await totals())
    for counted, looked in zip(await totals(), by_rows, strict=True):
        assert looked.avg_duration_ms == pytest.approx(counted.avg_duration_ms)
        assert looked.p50_ms == pytest.approx(counted.p50_ms, rel=0.2)
        assert looked.p95_ms == pytest.approx(counted.p95_ms, rel=0.2)
    assert told(await totals(started_after=1030.0, started_before=1031.0)) == [
        ("clean", 1, 1, 0, 0),
        ("fetch", 1, 1, 0, 0),
    ]
    assert told(await totals(status="failed")) == [("fetch", 4, 0, 4, 0)]
    assert [stage.avg_duration_ms for stage in await totals(status="failed")] == [1000]
    assert told(await totals(execution_id="late", status="processing")) == [("fetch", 1, 0, 0, 0)]


async def test_counts_are_of_messages_not_of_rows(crawl: PipelineLineageRepository) -> None:
    """A message that passed two stages counts once: sitemap and m1 done, one failed, one running."""
    counts = await crawl.counts("exec")
    assert (counts.total, counts.completed, counts.failed, counts.in_progress) == (4, 2, 1, 1)
    (route,) = counts.routes
    assert (route.route_id, route.total) == ("crawl", 4)
    assert route.avg_duration_ms == pytest.approx(400 / 3)
    assert (await crawl.counts("nobody")).total == 0


async def test_filtered_rows_are_counted_among_the_completed(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """Stats tell filtered messages apart."""
    service.record(make_entry("kept"))
    service.record(make_entry("left out", outcome="filtered"))
    assert await service.flush()
    (stage,) = await repository.stats("exec")
    assert (stage.count, stage.completed, stage.filtered) == (2, 2, 1)


@pytest.mark.parametrize(
    "away",
    ["sqlite+aiosqlite:////nowhere/lineage.db", "postgresql+asyncpg://me:secret@127.0.0.1:1/db"],
)
async def test_a_database_that_does_not_answer_is_said_so(away: str) -> None:
    """With a code, and without the statement, its values or a password."""
    engine = create_async_engine(away)
    with pytest.raises(LineageUnavailableError) as unavailable:
        await PipelineLineageRepository(engine).get("private-id")
    assert unavailable.value.code == "lineage_unavailable"
    for private in ("private-id", "SELECT", "secret"):
        assert private not in unavailable.value.message
    await engine.dispose()
    # A connection that failed to open ends its thread by itself, which must not outlive the loop.
    await eventually(
        lambda: not any("_connection_worker" in thread.name for thread in threading.enumerate())
    )
