"""What was written since this process began: totals for counters that only grow, and a pace for each route.

Added to once for each batch written, from the sums the batch has made anyway: a message costs nothing here.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from factflow_lineage.stage_numbers import StageOfExecution

WINDOW_SECONDS = 60.0
STEP_SECONDS = 5.0
"""How far apart the samples of a pace are kept, so that a minute takes a dozen of them."""


class StageKey(NamedTuple):
    """A stage by its names, in whichever execution."""

    route_id: str
    stage: str
    adapter: str


@dataclass(frozen=True, slots=True)
class StageMoves:
    """What one batch added to a stage of an execution: committed rows by what became of them (`settled`
    are those that ended their message in the route), their time, and how many fell into which bucket."""

    stage: StageOfExecution
    failed: int
    filtered: int
    settled: int
    duration_us: int
    buckets: dict[int, int]


@dataclass(slots=True)
class StageTally:
    """The sum of a stage's moves; `buckets` as in `histogram`."""

    failed: int = 0
    filtered: int = 0
    settled: int = 0
    duration_us: int = 0
    buckets: Counter[int] = field(default_factory=Counter)


class Pace:
    """How fast a count has grown of late, from a few samples."""

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])

    def add(self, now: float, count: int) -> None:
        """Raise the count. Seconds of any steady clock."""
        total = self._samples[-1][1] + count
        if len(self._samples) > 1 and now - self._samples[-2][0] < STEP_SECONDS:
            self._samples[-1] = (now, total)
        else:
            self._samples.append((now, total))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()

    def per_second(self, now: float) -> float:
        """Return the average over the last minute, or since the beginning when that is less ago.

        The minute may be up to `STEP_SECONDS` longer.
        """
        start = now - WINDOW_SECONDS
        base = max((s for s in self._samples if s[0] <= start), default=self._samples[0])
        length = min(now - base[0], WINDOW_SECONDS + STEP_SECONDS)
        grown = self._samples[-1][1] - base[1]
        return grown / length if grown and length > 0 else 0.0


class LineageTallies:
    """Totals by stage, over all executions that ran here, and the pace of each route of those that run.

    Only rows of an execution between `begin` and `end` are counted: what is made again from records was
    done at another time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.stages: dict[StageKey, StageTally] = {}
        self._running: dict[str, tuple[float, dict[str, Pace]]] = {}

    def begin(self, execution_id: str) -> None:
        """Count an execution's rows from now on."""
        self._running[execution_id] = (self._clock(), {})

    def end(self, execution_id: str) -> None:
        """Count no more of an execution; the totals stay, its paces go."""
        self._running.pop(execution_id, None)

    def add(self, moves: Iterable[StageMoves]) -> None:
        """Count one batch in."""
        now = self._clock()
        for moved in moves:
            execution_id, route_id, stage, adapter = moved.stage
            if execution_id not in self._running:
                continue
            key = StageKey(route_id, stage, adapter)
            tally = self.stages.setdefault(key, StageTally())
            tally.failed += moved.failed
            tally.filtered += moved.filtered
            tally.settled += moved.settled
            tally.duration_us += moved.duration_us
            tally.buckets.update(moved.buckets)
            if moved.settled:
                began, paces = self._running[execution_id]
                paces.setdefault(route_id, Pace(began)).add(now, moved.settled)

    def per_second(self, execution_id: str, route_id: str) -> float:
        """Return how many messages the route settled in a second, over the last minute."""
        _, paces = self._running.get(execution_id, (0.0, {}))
        pace = paces.get(route_id)
        return 0.0 if pace is None else pace.per_second(self._clock())
