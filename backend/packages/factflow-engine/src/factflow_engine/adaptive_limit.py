"""How many messages a route works on at once, so that its stages keep to a latency.

Additive increase, multiplicative decrease: Chiu and Jain, *Analysis of the Increase and Decrease
Algorithms for Congestion Avoidance in Computer Networks* (1989). A round is as many calls as there are
places. After a round in which the slowest stage's mean latency was above the target, the places shrink to
three quarters; after one below it in which all places were in use, one is added.
"""

from __future__ import annotations

from factflow_engine.slots import Slots

DECREASE = 0.75


class AdaptiveLimit:
    """Moves the limit of a route's slots between 1 and `highest`."""

    def __init__(self, slots: Slots, target_seconds: float, highest: int) -> None:
        self._slots = slots
        self._target = target_seconds
        self._highest = highest
        self._sums: dict[str, tuple[float, int]] = {}
        self._calls = 0
        self._crowded = False

    def observe(self, stage: str, seconds: float, *, failed: bool) -> None:
        """Count a call of a stage that took so long. A failure counts only when it was slow: a quick
        one says nothing about how much the stage can bear."""
        if failed and seconds <= self._target:
            return
        total, count = self._sums.get(stage, (0.0, 0))
        self._sums[stage] = total + seconds, count + 1
        self._calls += 1
        self._crowded = self._crowded or self._slots.all_taken
        if self._calls >= self._slots.limit:
            self._end_round()

    def _end_round(self) -> None:
        slowest = max(total / count for total, count in self._sums.values())
        limit = self._slots.limit
        if slowest > self._target:
            self._slots.resize(max(1, int(limit * DECREASE)))
        elif self._crowded:
            self._slots.resize(min(self._highest, limit + 1))
        self._sums.clear()
        self._calls = 0
        self._crowded = False
