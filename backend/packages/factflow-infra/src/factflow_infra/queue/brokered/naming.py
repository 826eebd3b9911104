"""What a scope's own queues are called: with an underscore in front, which no pipeline's queue can have."""

from __future__ import annotations

SETTLED = "_settled"
"""The queue of a scope's settle events."""
RUNGS_MS = (100, 400, 1_600, 6_400, 25_600, 102_400, 409_600, 1_638_400)
"""How long the delay queues keep a message. In each all wait equally long, so none waits behind another."""
_DELAY = "_delay:"


def delay_queue(queue: str, milliseconds: int) -> str:
    """Return the name of the queue in which messages for `queue` wait this long."""
    return f"{_DELAY}{milliseconds}:{queue}"


def delayed_for(name: str) -> str | None:
    """Return the queue whose messages wait in this one, None when it is no delay queue."""
    if not name.startswith(_DELAY):
        return None
    return name.removeprefix(_DELAY).partition(":")[2]


def delay_of(name: str) -> int:
    """Return how long (ms) a delay queue keeps a message."""
    return int(name.removeprefix(_DELAY).partition(":")[0])


def rung(seconds: float) -> int:
    """Return the longest wait (ms) that does not overshoot, or the shortest there is."""
    fitting = [wait for wait in RUNGS_MS if wait <= seconds * 1_000]
    return fitting[-1] if fitting else RUNGS_MS[0]
