"""Messages that wait for their time: one heap and one timer for a whole queue.

The wall clock may be set while they wait. Set forward, they come early. Set back, they go on waiting for
as long as they had to; what was put back before a restart, whose clock knows nothing of the one before it,
waits `LONGEST_WAIT_SECONDS` at most.
"""

from __future__ import annotations

import asyncio
import heapq

from factflow_foundation.clock import Clock, steady_time
from factflow_infra.queue.lane import Lane

MAX_SLEEP_SECONDS = 30.0
"""Looks at the clock at least this often: wall-clock time may jump while a timer runs."""
LONGEST_WAIT_SECONDS = 3600.0
"""No message is put back for longer."""
SET_BACK_SECONDS = 1.0
"""A clock that lags by more than this since the last look was set back, and not only slowed down."""


class Delays:
    """Time is the clock's; the timer only says when to look at it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Lane]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._steady = steady_time(clock)
        self._seen: tuple[float, float] | None = None

    def add(self, lane: Lane, seq: int, not_before: float) -> None:
        """Have the lane's message mature at `not_before` (Unix seconds)."""
        not_before = min(not_before, self._now() + LONGEST_WAIT_SECONDS)
        heapq.heappush(self._heap, (not_before, seq, lane))
        if self._heap[0][1] == seq:
            self.look()

    def look(self) -> None:
        """Mature what is due by the clock, and set the timer for the rest."""
        now = self._now()
        lanes: dict[Lane, None] = {}
        while self._heap and self._heap[0][0] <= now:
            _, seq, lane = heapq.heappop(self._heap)
            lane.mature(seq)
            lanes[lane] = None
        for lane in lanes:
            lane.load_if_wanted()
        self.stop()
        if self._heap:
            delay = min(max(self._heap[0][0] - now, 0.0), MAX_SLEEP_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self.look)

    def _now(self) -> float:
        """Return the time, after moving what waits if the clock was set back since the last look."""
        now = self._clock.now()
        if self._steady is None:
            return now
        steady = self._steady()
        if self._seen is not None:
            set_back = (steady - self._seen[1]) - (now - self._seen[0])
            if set_back > SET_BACK_SECONDS:
                self._heap = [(time - set_back, seq, lane) for time, seq, lane in self._heap]
        self._seen = (now, steady)
        return now

    def drop(self, lanes: set[Lane]) -> None:
        """Forget the messages of these lanes."""
        self._heap = [item for item in self._heap if item[2] not in lanes]
        heapq.heapify(self._heap)

    def stop(self) -> None:
        """Let the timer go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
