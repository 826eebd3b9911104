"""The same deaths, and the queue is gone as well: the records alone lead to the same end."""

from __future__ import annotations

from pathlib import Path

import pytest

from factflow_testing.crash_matrix import CASES, Case, check


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=str(case), marks=[] if case.quick == "lost" else pytest.mark.long)
        for case in CASES
    ],
)
def test_the_next_server_goes_on_from_the_records(tmp_path: Path, case: Case) -> None:
    check(case, tmp_path, queue_lost=True)
