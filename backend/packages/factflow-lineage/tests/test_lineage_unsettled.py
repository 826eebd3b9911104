"""What failed, by stage and class of error, and what is under way: in all, or below one row."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from factflow_foundation.records import ErrorInfo
from factflow_lineage import LineageService, PipelineLineageEntry, PipelineLineageRepository

MakeEntry = Callable[..., PipelineLineageEntry]


@pytest.fixture
async def two_sites(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> PipelineLineageRepository:
    """Two sitemaps with four pages each: of each two fail, one is at work, one waits for its retry."""
    slow, gone = ErrorInfo("TimeoutError", "slow"), ErrorInfo("PermanentError", "410")
    for site in ("a", "b"):
        service.record(make_entry(site, stage="expand", outcome="fanned_out", expected_children=4))
        page = {"parent_id": site, "route_id": "pages"}
        for name, started, fields in (
            ("1", 1001.0, {"status": "failed", "error": slow}),
            ("2", 1002.0, {"status": "failed", "error": gone}),
            ("3", 1003.0, {"status": "processing"}),
            ("4", 1004.0, {"status": "pending", "error": slow}),
        ):
            service.record(make_entry(f"{site}{name}", started_at=started, **page, **fields))
    deep = {"parent_id": "a1", "route_id": "dead", "stage": "mourn"}
    service.record(make_entry("a11", status="failed", error=gone, started_at=1005.0, **deep))
    service.record(make_entry("other", execution_id="other", status="failed", error=slow))
    assert await service.flush()
    return repository


async def groups(lineage: PipelineLineageRepository, **narrow: str) -> list[tuple[str, str, int]]:
    found = await lineage.failure_groups("exec", **narrow)
    assert all(group.latest.error is not None for group in found)
    return sorted((group.stage, group.error_type, group.count) for group in found)


async def test_failures_are_grouped_by_stage_and_error(
    two_sites: PipelineLineageRepository,
) -> None:
    pages = [("fetch", "PermanentError", 2), ("fetch", "TimeoutError", 2)]
    assert await groups(two_sites) == [*pages, ("mourn", "PermanentError", 1)]
    assert await groups(two_sites, route_id="pages") == pages
    assert await two_sites.failure_groups("nobody") == ()
    largest = (await two_sites.failure_groups("exec"))[0]
    assert (largest.count, largest.latest.id[0]) == (2, "b"), "the latest row stands for its group"


async def test_failures_below_a_row_are_those_of_all_that_came_of_it(
    two_sites: PipelineLineageRepository,
) -> None:
    below = [("fetch", "PermanentError", 1), ("fetch", "TimeoutError", 1)]
    assert await groups(two_sites, below="b") == below
    assert await groups(two_sites, below="a") == [*below, ("mourn", "PermanentError", 1)]
    assert await groups(two_sites, below="a1") == [("mourn", "PermanentError", 1)]
    assert await groups(two_sites, below="a3") == []


async def test_what_is_under_way_is_listed_the_oldest_first(
    two_sites: PipelineLineageRepository,
) -> None:
    async def ids(status: str, **narrow: str) -> list[str]:
        rows = await two_sites.under_way("exec", status, **narrow)  # type: ignore[arg-type]  # both are
        return [row.id for row in rows]

    assert await ids("processing") == ["a3", "b3"]
    assert await ids("pending", route_id="pages") == ["a4", "b4"]
    assert await ids("pending", below="b") == ["b4"]
    assert await ids("processing", route_id="dead") == []
    assert len(await two_sites.under_way("exec", "processing", limit=1)) == 1
