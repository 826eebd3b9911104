"""How fast routes go, told from what they had settled when somebody last looked.

Nothing is measured while nobody asks: the counters exist anyway, and the difference between two looks is
the pace between them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping

WINDOW_SECONDS = 15.0
"""The pace is that since the first look within this time."""
APART_SECONDS = 1.0
"""Looks closer together than this count as one: a counter of lineage moves in steps of 0.2 s."""
REMEMBERED = 100
"""Executions whose last looks are kept."""

Look = tuple[float, dict[str, int]]


class Pace:
    """The last looks at the executions that somebody watches."""

    def __init__(self) -> None:
        self._looks: OrderedDict[str, deque[Look]] = OrderedDict()

    def rates(
        self, execution_id: str, settled: Mapping[str, int], started_at: float, now: float
    ) -> dict[str, float]:
        """Return messages a second by route, since the earliest look of the last seconds; since the start
        when there was none."""
        looks = self._looks.setdefault(execution_id, deque())
        self._looks.move_to_end(execution_id)
        while len(self._looks) > REMEMBERED:
            self._looks.popitem(last=False)
        while looks and not 0 <= now - looks[0][0] <= WINDOW_SECONDS:
            looks.popleft()
        then, before = looks[0] if looks else (started_at, {})
        if now - then < APART_SECONDS:
            then, before = started_at, {}
        if not looks or now - looks[-1][0] >= APART_SECONDS:
            looks.append((now, dict(settled)))
        seconds = now - then
        if seconds <= 0:
            return {}
        return {
            route: max(0, count - before.get(route, 0)) / seconds
            for route, count in settled.items()
        }
