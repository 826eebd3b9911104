"""Lengths of time on the command line."""

from __future__ import annotations

import pytest

from factflow_cli.durations import format_duration, parse_duration
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
