"""One scope in memory: its counts, its queues, and who waits for it to drain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from factflow_infra.queue.lane import Lane
from factflow_infra.queue.queue_file import (
    DELAYED,
    FAILED,
    PUBLISHER_ENDED,
    PUBLISHER_NONE,
    READY,
    SETTLED,
    NewMessage,
    ScopeRow,
    Standing,
)
from factflow_protocols.queue import Progress, QueueScope

DelayMessage = Callable[[Lane, int, float], None]
MakeLane = Callable[[QueueScope, int, str], Lane]


class ScopeState:
    """Counts follow commits, never requests, so they say what the file says."""

    def __init__(
        self, scope: QueueScope, row: ScopeRow, *, make_lane: MakeLane, delay: DelayMessage
    ) -> None:
        self.scope = scope
        self.id = row.id
        self.publisher = row.publisher
        self.cursor = row.cursor
        self.crashed = bool(row.crashed)
        self.lanes: dict[str, Lane] = {}
        self._announced = 0
        self._settled = 0
        self._failed = 0
        self._make_lane = make_lane
        self._delay = delay
        self._waiters: list[asyncio.Future[Progress]] = []

    def lane(self, queue: str) -> Lane:
        """Return a queue of this scope, made on first mention."""
        lane = self.lanes.get(queue)
        if lane is None:
            lane = self.lanes[queue] = self._make_lane(self.scope, self.id, queue)
        return lane

    @property
    def progress(self) -> Progress:
        """Return the counts; the publisher is one item."""
        has = self.publisher != PUBLISHER_NONE
        ended = self.publisher == PUBLISHER_ENDED
        return Progress(self._announced + has, self._settled + ended, self._failed)

    def restore(self, queue: str, state: int, count: int) -> None:
        """Count what the file holds in one state; the messages themselves stay on disk."""
        self._announced += count
        if state >= SETTLED:
            self._settled += count
        if state == FAILED:
            self._failed += count
        lane = self.lane(queue)
        if state == READY:
            lane.spilled += count

    def announced(self, rows: Sequence[NewMessage], seqs: Sequence[int | None]) -> None:
        """Take in committed messages; those without a seq were announced before."""
        for row, seq in zip(rows, seqs, strict=True):
            if seq is None:
                continue
            self._announced += 1
            lane = self.lane(row.queue)
            if row.state == DELAYED:
                self.delayed(lane, seq, row.not_before)
            else:
                lane.arrive(Standing(seq, row.message_id, False, 0, row.body))

    def delayed(self, lane: Lane, seq: int, not_before: float) -> None:
        """Have a standing message wait for its time."""
        lane.delay(seq)
        self._delay(lane, seq, not_before)

    def settled(self, *, failed: bool, unannounced: bool = False) -> None:
        """Count a settled message; `unannounced` counts its announcement too."""
        self._announced += unannounced
        self._settled += 1
        self._failed += failed

    def tell_if_drained(self) -> None:
        """Wake those that wait, if nothing is outstanding."""
        progress = self.progress
        if progress.outstanding == 0:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(progress)
            self._waiters.clear()

    async def drained(self) -> Progress:
        """Wait until nothing is outstanding."""
        if self.progress.outstanding == 0:
            return self.progress
        waiter: asyncio.Future[Progress] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def end(self) -> None:
        """End all waiting, with `asyncio.CancelledError`."""
        for lane in self.lanes.values():
            lane.end()
        for waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()
