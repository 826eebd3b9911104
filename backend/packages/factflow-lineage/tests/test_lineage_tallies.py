"""What was written since the start, by stage, and the pace of the last minute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_lineage import LineageService, PipelineLineageEntry
from factflow_lineage.stage_numbers import StageOfExecution
from factflow_lineage.tallies import LineageTallies, StageKey, StageMoves


class Watch:
    """A clock moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def settled(count: int, route: str = "crawl") -> list[StageMoves]:
    stage = StageOfExecution("exec", route, "fetch", "web_scraper")
    return [StageMoves(stage, 0, 0, settled=count, duration_us=count, buckets={3: count})]


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def tallies(watch: Watch) -> LineageTallies:
    tallies = LineageTallies(watch)
    tallies.begin("exec")
    return tallies


def test_a_young_execution_has_its_pace_since_its_beginning(
    tallies: LineageTallies, watch: Watch
) -> None:
    watch.now += 10
    tallies.add(settled(50))
    assert tallies.per_second("exec", "crawl") == 5
    watch.now += 10
    assert tallies.per_second("exec", "crawl") == 2.5


def test_only_the_last_minute_counts(tallies: LineageTallies, watch: Watch) -> None:
    """Within the five seconds that samples are apart."""
    for _ in range(600):
        watch.now += 0.2
        tallies.add(settled(20))
    assert tallies.per_second("exec", "crawl") == pytest.approx(100, rel=0.01)
    watch.now += 30
    assert tallies.per_second("exec", "crawl") == pytest.approx(50, rel=0.1)
    watch.now += 60
    assert tallies.per_second("exec", "crawl") == 0
    tallies.add(settled(60))
    assert tallies.per_second("exec", "crawl") == pytest.approx(1, rel=0.1)


def test_routes_and_executions_that_settled_nothing_have_no_pace(tallies: LineageTallies) -> None:
    assert tallies.per_second("exec", "crawl") == 0
    assert tallies.per_second("other", "crawl") == 0


def test_totals_outlive_the_execution_and_others_are_not_counted(tallies: LineageTallies) -> None:
    tallies.add(settled(3))
    tallies.end("exec")
    tallies.add(settled(4))
    [(key, tally)] = tallies.stages.items()
    assert key == StageKey("crawl", "fetch", "web_scraper")
    assert (tally.settled, tally.buckets) == (3, {3: 3})


async def test_the_writer_counts_each_row_once_it_is_committed(
    open_engine: Callable[[], AsyncEngine],
    make_entry: Callable[..., PipelineLineageEntry],
) -> None:
    service = LineageService(open_engine(), flush_interval=0)
    await service.start()
    service.tallies.begin("exec")
    service.record(make_entry("a", status="processing"))
    assert await service.flush()
    assert service.tallies.stages == {}
    for entry in (
        make_entry("a"),
        make_entry("b", status="failed"),
        make_entry("c", outcome="filtered"),
        make_entry("d", continues=True),
        make_entry("e", execution_id="another"),
    ):
        service.record(entry)
    assert await service.flush()
    service.record(make_entry("b", status="failed"))
    assert await service.flush()
    await service.close()
    [tally] = service.tallies.stages.values()
    assert (tally.settled, tally.failed, tally.filtered) == (3, 1, 1)
    assert (tally.duration_us, tally.buckets.total()) == (400_000, 4)
