"""The pace of routes, from looks at counters that exist anyway."""

from __future__ import annotations

import pytest

from factflow_execution.pace import REMEMBERED, WINDOW_SECONDS, Pace


def test_the_first_look_tells_the_pace_since_the_start() -> None:
    """There is nothing to compare with yet."""
    assert Pace().rates("e", {"r": 50}, 100.0, 110.0) == {"r": 5.0}


def test_later_looks_tell_the_pace_of_the_last_seconds() -> None:
    """Whatever the average was; a look of long ago does not count."""
    pace = Pace()
    pace.rates("e", {"r": 1000}, 0.0, 1000.0)
    assert pace.rates("e", {"r": 1000, "new": 8}, 0.0, 1004.0) == {"r": 0.0, "new": 2.0}
    late = 1004.0 + 2 * WINDOW_SECONDS
    assert pace.rates("e", {"r": late}, 0.0, late) == {"r": 1.0}  # type: ignore[dict-item]  # any number


def test_looks_in_quick_succession_do_not_measure_steps_of_the_counters() -> None:
    """Many who watch at once, or a clock that was set back, break nothing."""
    pace = Pace()
    for _ in range(3):
        assert pace.rates("e", {"r": 10}, 90.0, 100.0) == {"r": 1.0}
    assert pace.rates("e", {"r": 10}, 90.0, 80.0) == {}


def test_few_executions_are_remembered() -> None:
    """However many somebody asked about."""
    pace = Pace()
    for number in range(REMEMBERED + 10):
        pace.rates(str(number), {"r": 1}, 0.0, 100.0)
    assert len(pace._looks) == pytest.approx(REMEMBERED)
