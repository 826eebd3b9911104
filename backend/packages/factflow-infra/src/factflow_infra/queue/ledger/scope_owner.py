"""Who owns a scope: the one that writes its ledger, counts from what was committed, and knows when it is
drained.

Requests of one moment share a transaction; while it commits, further ones gather for the next. Memory holds
counts by queue, and the settles that are on their way through the broker, never a message's row.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from factflow_foundation.crash_points import reach
from factflow_infra.queue.ledger.batch import (
    Announced,
    LedgerBatch,
    LedgerChanges,
    LedgerEntry,
    QueueCount,
    ScopeEntry,
    Settled,
)
from factflow_infra.queue.ledger.ledger import Ledger
from factflow_infra.queue.ledger.scope_part import ScopePart
from factflow_infra.queue.ledger.tables import PUBLISHER_ENDED, PUBLISHER_NONE
from factflow_protocols.queue import Delivery, Progress, QueueScope

MAX_ROWS = 5_000
"""Of one transaction: others wait for the same database."""


@dataclass(slots=True)
class _Request:
    """A part of a batch, and who waits for its commit."""

    batch: LedgerBatch
    done: asyncio.Future[dict[str, LedgerEntry]]
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        batch = self.batch
        children = sum(len(settled.children) for settled in batch.settled)
        self.rows = len(batch.announced) + len(batch.settled) + children


class ScopeOwner(ScopePart):
    """One scope, from its opening in this process until it is deleted or let go.

    What its methods return is committed. They raise `QueueUnavailableError`, and `ScopeTakenOverError`
    once another process has opened the scope.
    """

    def __init__(self, ledger: Ledger, scope: QueueScope, entry: ScopeEntry) -> None:
        super().__init__(ledger, scope, entry)
        self.crashed = entry.crashed
        self.cursor = entry.cursor
        self.publisher = entry.publisher
        self._total = QueueCount()
        for count in self._counts.values():
            self._total.add(count)
        self._under_way: dict[str, str] = {}
        self._settling: Counter[str] = Counter()
        self._requests: list[_Request] = []
        self._writing: asyncio.Task[None] | None = None
        self._drained: list[asyncio.Future[Progress]] = []
        self._changed = asyncio.Event()

    # -- what it knows

    @property
    def progress(self) -> Progress:
        """Return the counts; the publisher is one item."""
        has = self.publisher != PUBLISHER_NONE
        ended = self.publisher == PUBLISHER_ENDED
        total = self._total
        return Progress(total.announced + has, total.settled + ended, total.failed)

    def standing(self, queue: str) -> int:
        """Return how many messages of a queue are not settled, those whose settle is under way left out."""
        count = self._counts.get(queue)
        if count is None:
            return 0
        return max(count.announced - count.settled - self._settling[queue], 0)

    async def drained(self) -> Progress:
        """Wait until nothing is outstanding. Ends with `asyncio.CancelledError` when the scope does."""
        if self.progress.outstanding == 0:
            return self.progress
        waiter: asyncio.Future[Progress] = asyncio.get_running_loop().create_future()
        self._drained.append(waiter)
        try:
            return await waiter
        finally:
            if waiter in self._drained:
                self._drained.remove(waiter)

    # -- settles between their publishing and their commit

    def under_way(self, message_id: str) -> bool:
        """Tell whether a message's settle was handed to the broker here and is not in the ledger yet."""
        return message_id in self._under_way

    def settling(self, message_id: str, queue: str) -> None:
        """Note that a message's settle is on its way."""
        if message_id not in self._under_way:
            self._under_way[message_id] = queue
            self._settling[queue] += 1

    def not_settling(self, message_id: str) -> None:
        """Note that it has arrived, or will have to be sent again."""
        queue = self._under_way.pop(message_id, None)
        if queue is not None:
            self._settling[queue] -= 1
            self._changed.set()

    async def caught_up(self, seconds: float) -> bool:
        """Wait until what is on its way now has arrived; False when that takes longer than `seconds`."""
        waited_for = set(self._under_way)
        try:
            async with asyncio.timeout(seconds):
                while not waited_for.isdisjoint(self._under_way):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # -- what it writes

    async def announce(self, announced: Sequence[Announced]) -> Mapping[str, LedgerEntry]:
        """Announce messages; return those that were known before, as they stand."""
        known = await self._submit(LedgerBatch(announced=list(announced)))
        return {
            message_id: LedgerEntry(entry.queue, settled=True, crashes=entry.crashes)
            if self.under_way(message_id)
            else entry
            for message_id, entry in known.items()
        }

    async def settle(self, settled: Sequence[Settled], announced: Sequence[Announced] = ()) -> None:
        """Take in settles, each with what it announces, and what is announced besides, as one act."""
        await self._submit(LedgerBatch(announced=list(announced), settled=list(settled)))
        for one in settled:
            self.not_settling(one.message_id)

    async def keep_cursor(self, cursor: int) -> None:
        """Keep the publisher's position."""
        await self._submit(LedgerBatch(cursor=cursor))
        self.cursor = cursor

    async def set_publisher(self, state: int) -> None:
        """Announce the publisher, or settle it."""
        await self._submit(LedgerBatch(publisher=state))
        self.publisher = state
        self._tell_if_drained()

    def to_be_claimed(self, delivery: Delivery) -> bool:
        """Claim everything from the first crash on; before it what came again, where others take part and
        may have ended with it in hand."""
        return self.crashed or (delivery.repeat and self._ledger.claimant != 0)

    async def claim(self, message_id: str) -> None:
        """Note that a message is being handled."""
        await self._submit(LedgerBatch(claimed=[message_id]))

    async def unclaim(self, ids: Sequence[str]) -> None:
        """Note that messages are not handled here any more."""
        await self._submit(LedgerBatch(unclaimed=list(ids)))

    def end(self) -> None:
        """End all waiting, with `asyncio.CancelledError`."""
        self._watchers.clear()
        for waiter in self._drained:
            waiter.cancel()
        self._drained.clear()

    async def let_go(self) -> None:
        """Finish what is being written, and give the scope up in order."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._ledger.let_go(self.entry)

    # -- inside

    async def _submit(self, batch: LedgerBatch) -> dict[str, LedgerEntry]:
        request = _Request(batch, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="queue ledger")
        return await request.done

    async def _write(self) -> None:
        while self._requests:
            part: list[_Request] = []
            rows = 0
            while self._requests and (not part or rows + self._requests[0].rows <= MAX_ROWS):
                part.append(self._requests.pop(0))
                rows += part[-1].rows
            try:
                changes = await self._commit(part)
            except BaseException as error:
                for request in part:
                    if not request.done.done():
                        request.done.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            self._take_in(changes)
            seen: dict[str, LedgerEntry] = dict(changes.known)
            for request in part:
                known = {
                    one.message_id: seen[one.message_id]
                    for one in request.batch.announced
                    if one.message_id in seen
                }
                # Of two requests that announce one message, the second one finds it known.
                for one in request.batch.announced:
                    seen.setdefault(
                        one.message_id, LedgerEntry(one.queue, settled=False, crashes=0)
                    )
                if not request.done.done():
                    request.done.set_result(known)

    async def _commit(self, part: Sequence[_Request]) -> LedgerChanges:
        whole = LedgerBatch()
        for request in part:
            batch = request.batch
            whole.announced += batch.announced
            whole.settled += batch.settled
            whole.claimed += batch.claimed
            whole.unclaimed += batch.unclaimed
            whole.publisher = batch.publisher if batch.publisher is not None else whole.publisher
            whole.cursor = batch.cursor if batch.cursor is not None else whole.cursor
        reach("queue.ledger.before")
        changes = await self._ledger.commit(self.entry, self.scope, whole)
        reach("queue.ledger.after")
        return changes

    def _take_in(self, changes: LedgerChanges) -> None:
        for queue, count in changes.counts.items():
            self._counts.setdefault(queue, QueueCount()).add(count)
            self._total.add(count)
        if changes.counts:
            self._tell_watchers()
        self._tell_if_drained()

    def _tell_if_drained(self) -> None:
        progress = self.progress
        if progress.outstanding == 0:
            for waiter in self._drained:
                if not waiter.done():
                    waiter.set_result(progress)
            self._drained.clear()
