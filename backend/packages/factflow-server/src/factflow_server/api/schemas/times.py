"""Times in answers: ISO 8601 in UTC."""

from __future__ import annotations

from typing import overload

from factflow_foundation.clock import isoformat


@overload
def iso(seconds: float) -> str: ...
@overload
def iso(seconds: None) -> None: ...
@overload
def iso(seconds: float | None) -> str | None: ...
def iso(seconds: float | None) -> str | None:
    """Return Unix seconds as ISO 8601, None as None."""
    return None if seconds is None else isoformat(seconds)


def duration_ms(start: float, end: float | None) -> float | None:
    """Return milliseconds between two times in Unix seconds, None while there is no end.

    0 when the clock was set back between them.
    """
    return None if end is None else round(max(0.0, end - start) * 1000, 3)
