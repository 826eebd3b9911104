"""Lengths of time on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from factflow_cli.durations import format_duration, parse_duration, parse_grace, parse_moment
from factflow_cli.errors import CliError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h", 3600),
        ("250ms", 0.25),
        ("45", 45),
        ("1.5h", 5400),
        ("2d", 172_800),
        (" 1H ", 3600),
        ("0.5", 0.5),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "5x", "-5", "0", "0s", "1h1h", "1h 30m", "5m30", "1e9", "9999d", "nan", "٣s"],
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(CliError) as refused:
        parse_duration(text)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25s"),
        (9.5, "9.5s"),
        (59.97, "1m00s"),
        (90, "1m30s"),
        (7500, "2h05m"),
        (273_600, "3d04h"),
        (float("nan"), "-"),
    ],
)
def test_durations_are_shown_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("0s", 0), ("10", 10), ("1h", 3600)])
def test_a_grace_period_may_be_none_at_all(text: str, seconds: float) -> None:
    assert parse_grace(text) == seconds


@pytest.mark.parametrize("text", ["2h", "soon", "-1"])
def test_a_grace_period_over_an_hour_or_unreadable_is_refused(text: str) -> None:
    with pytest.raises(CliError):
        parse_grace(text)


@pytest.mark.parametrize(
    "text", ["2026-03-01T12:00:00+00:00", "2026-03-01T13:00+01:00", "2026-03-01T12:00Z", "2h"]
)
def test_a_moment_is_a_time_or_a_duration_from_now(text: str) -> None:
    now = datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert parse_moment(text, now) == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_what_is_no_moment_is_refused_with_an_example() -> None:
    with pytest.raises(CliError) as refused:
        parse_moment("tomorrow")
    assert "2h" in refused.value.hint
