"""How single values read for a person: moments, lengths of time, sizes, shares."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from factflow_cli.durations import format_duration


def moment(value: Any) -> str:
    """Return an ISO 8601 moment as `2026-03-01 09:30:12` UTC; anything else unchanged."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return value
    at = parsed if parsed.tzinfo is None else parsed.astimezone(UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S")


def took(milliseconds: Any) -> str:
    """Return a `duration_ms` as `250ms`, `1.5s`, `2m10s`; '' for none."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return ""
    if milliseconds < 1000:
        exact = f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:.3g}"
        return f"{exact}ms" if milliseconds < 999.5 else "1s"
    return format_duration(milliseconds / 1000)


def size(count: Any) -> str:
    """Return a number of bytes as `812 B`, `3.4 KiB`, `1.2 MiB`; '' for none."""
    if isinstance(count, bool) or not isinstance(count, int | float):
        return ""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def share(value: Any) -> str:
    """Return a ratio as `97.5%`; '' for none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{value * 100:.1f}%"


def rate(value: Any) -> str:
    """Return a number per second as `0.4`, `12`, `1,480`; '' for none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
