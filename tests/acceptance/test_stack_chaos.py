"""Servers and workers are killed again and again while broker and PostgreSQL end and come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from factflow_testing.stack_chaos import StackChaos, StackChaosOptions


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_kills_and_restarts_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    """`make chaos-services` does it for ten minutes."""
    options = StackChaosOptions(messages=1_000, seconds=60.0, seed=3, broker_restarts=1)
    figures = StackChaos(tmp_path / "chaos", options, print).run()
    told = f"{figures.table()}\n" + "\n".join(figures.judged.problems)
    assert not figures.wrong, told
    assert figures.blows["worker"] > 0
    assert figures.blows["server"] > 0
