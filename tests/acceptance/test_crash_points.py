"""A server that dies before or after any durable step loses nothing and does nothing twice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from factflow_testing.crash_matrix import (
    BROKER_POINTS,
    CASES,
    DELETION_POINTS,
    MEMBER_POINTS,
    SHARED_POINTS,
    Case,
    check,
)

PACKAGES = Path(__file__).resolve().parents[2] / "backend" / "packages"


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=str(case), marks=[] if case.quick == "survived" else pytest.mark.long)
        for case in CASES
    ],
)
def test_the_next_server_goes_on_from_the_queue_that_survived(tmp_path: Path, case: Case) -> None:
    check(case, tmp_path, queue_lost=False)


def test_every_crash_point_of_the_product_has_a_case() -> None:
    """A new durable step joins `CASES`, and no case names one that is gone."""
    source = [path.read_text() for path in PACKAGES.glob("**/src/**/*.py")]
    named = {point for text in source for point in re.findall(r'\breach\(\s*"([^"]+)"', text)}
    grouped = {name for text in source for name in re.findall(r'\bcrash_point ?= ?"([^"]+)"', text)}
    named |= {f"{name}.{side}" for name in grouped for side in ("before", "after")}
    assert len(named) >= 22
    elsewhere = {*DELETION_POINTS, *BROKER_POINTS, *MEMBER_POINTS, *SHARED_POINTS}
    assert named == {case.name for case in CASES} | elsewhere
