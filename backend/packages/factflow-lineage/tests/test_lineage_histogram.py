"""Quantiles from buckets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factflow_lineage import LineageService, PipelineLineageEntry, PipelineLineageRepository
from factflow_lineage.histogram import (
    ERROR_BOUND,
    LONGEST_US,
    bucket_of,
    microseconds,
    quantile_ms,
)

ONE_MICROSECOND = 0.001


@given(
    st.lists(st.floats(0, 1e10) | st.floats(0, 1e-2), min_size=1),
    st.sampled_from([0.0, 0.5, 0.95, 1.0]),
)
def test_quantiles_are_within_the_stated_bound(durations: list[float], share: float) -> None:
    """A quantile is within 9.1 % (or a microsecond) of the nearest-rank one of the true durations."""
    histogram = Counter(bucket_of(microseconds(duration)) for duration in durations)
    true = sorted(durations)[max(math.ceil(share * len(durations)), 1) - 1]
    found = quantile_ms(histogram, share)
    assert found is not None
    assert abs(found - true) <= max(true * ERROR_BOUND * (1 + 1e-9), ONE_MICROSECOND)
    assert ERROR_BOUND < 0.091


@pytest.mark.parametrize("odd", [None, -1.0, math.nan, -math.inf, 0.0])
def test_no_duration_counts_as_zero(odd: float | None) -> None:
    """A clock that stepped back must not break the counters."""
    assert microseconds(odd) == 0.0


def test_endless_durations_are_cut_off() -> None:
    """Infinity has a bucket, too."""
    assert microseconds(math.inf) == LONGEST_US
    assert quantile_ms({}, 0.5) is None


async def test_stats_give_quantiles_of_what_was_recorded(
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: Callable[..., PipelineLineageEntry],
) -> None:
    """Average exact, p50 and p95 within the bound; rows in progress have no part in them."""
    for number in range(1, 101):
        service.record(make_entry(f"row{number}", duration_ms=float(number)))
    service.record(make_entry("running", status="processing"))
    assert await service.flush()
    (stage,) = await repository.stats("exec")
    assert (stage.count, stage.completed) == (101, 100)
    assert stage.avg_duration_ms == 50.5
    assert stage.p50_ms == pytest.approx(50, rel=ERROR_BOUND)
    assert stage.p95_ms == pytest.approx(95, rel=ERROR_BOUND)
