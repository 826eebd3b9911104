"""Time as a seam: tests move it, everything else reads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time."""

    def now(self) -> float:
        """Return Unix seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time()

    def steady(self) -> float:
        """Return seconds of a clock that nobody sets, from any beginning."""
        return time.monotonic()


def steady_time(clock: Clock) -> Callable[[], float] | None:
    """Return a clock's `steady`; None for one that is moved by hand and has no other time."""
    steady: Callable[[], float] | None = getattr(clock, "steady", None)
    return steady


def isoformat(seconds: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
