"""Lengths of time as people type and read them: `90s`, `5m`, `1h30m`, `250ms`."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

from factflow_cli.errors import CliError

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)", re.ASCII)
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|d|h|m|s))+", re.ASCII)
_PLAIN = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
LONGEST_GRACE = 3600.0
LONGEST = 366 * 86400.0
"""Seconds. Anything longer is taken for a slip of the keyboard."""


def parse_duration(text: str) -> float:
    """Return seconds for `90s`, `5m`, `1h30m`, `250ms` or plain seconds.

    Raises `CliError` for anything else, for zero and for more than a year.
    """
    compact = text.strip().lower()
    if _PLAIN.fullmatch(compact):
        seconds = float(compact)
    elif _WHOLE.fullmatch(compact):
        units = [unit for _, unit in _PART.findall(compact)]
        if len(set(units)) != len(units):
            raise CliError(f"duration {text!r} names a unit twice", hint="write it like 1h30m")
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(compact))
    else:
        raise CliError(
            f"{text!r} is not a duration", hint="write it like 90s, 5m, 1h30m, or plain seconds"
        )
    if not 0 < seconds <= LONGEST:
        raise CliError(
            f"duration {text!r} must be more than 0 and at most 366d", hint="for example: 10m"
        )
    return seconds


def parse_grace(text: str) -> float:
    """Return seconds as `parse_duration` does, and zero for none. Raises `CliError`, for more than an hour
    too."""
    if re.fullmatch(r"0+(?:\.0*)?(?:ms|s|m|h)?", text.strip(), re.ASCII):
        return 0.0
    seconds = parse_duration(text)
    if seconds > LONGEST_GRACE:
        raise CliError(f"{text!r} is longer than an hour", hint="give at most 1h")
    return seconds


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """Return the time that an ISO 8601 text names (of this machine's zone when it has none), or that a
    duration such as `2h` is from now. Raises `CliError` for anything else."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    try:
        seconds = parse_duration(text)
    except CliError:
        raise CliError(
            f"{text!r} is neither a time nor a duration",
            hint="write it like 2026-03-01T18:00, 2026-03-01T18:00+01:00, or 2h from now",
        ) from None
    return (now or datetime.now(UTC)) + timedelta(seconds=seconds)


def point_in_time(text: str | None) -> str | None:
    """Return the moment that long ago for `90s` or `1h30m`, as ISO 8601; any other text unchanged."""
    if text is None or not _WHOLE.fullmatch(text.strip().lower()):
        return text
    return (datetime.now(UTC) - timedelta(seconds=parse_duration(text))).isoformat()


def format_duration(seconds: float) -> str:
    """Return `0.25s`, `9.5s`, `1m30s`, `2h05m` or `3d04h`."""
    if not math.isfinite(seconds) or seconds < 0:
        return "-"
    if seconds < 60:
        return f"{seconds:.3g}s" if seconds < 59.95 else "1m00s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"
