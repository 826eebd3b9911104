from __future__ import annotations

from typing import get_args

import pytest

from factflow_execution.models import ExecutionStatus
from factflow_execution.transitions import LEGAL, sources_of


def test_every_status_has_its_line() -> None:
    assert set(LEGAL) == set(get_args(ExecutionStatus))


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_what_ended_for_good_never_moves(status: ExecutionStatus) -> None:
    assert not LEGAL[status]


def test_only_what_runs_or_was_cut_off_ends() -> None:
    assert sources_of("completed") == sources_of("interrupted") == ["running"]
    assert sources_of("failed") == sources_of("cancelled") == ["running", "interrupted"]


def test_only_the_interrupted_run_again() -> None:
    assert sources_of("running") == ["interrupted"]
