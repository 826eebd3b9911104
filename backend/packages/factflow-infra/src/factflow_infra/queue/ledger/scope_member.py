"""Who takes part in a scope that another process owns: it reads the ledger, and writes there only what it
handles.

Counts are the owner's, read once a second at most and only while somebody wants to know them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from factflow_infra.queue.ledger.batch import QueueCount, ScopeEntry
from factflow_infra.queue.ledger.ledger import Ledger
from factflow_infra.queue.ledger.scope_part import ScopePart
from factflow_protocols.errors import QueueUnavailableError
from factflow_protocols.queue import Delivery, QueueScope

FRESH_SECONDS = 1.0
"""How old the counts may be that somebody decides by."""
MOST_REMEMBERED = 20_000
"""Settles of this process that are known without the ledger, which may not have the newest ones yet."""
ANNOUNCE_SECONDS = 15.0
"""How long the owner may take to announce what a member publishes; without one it is never done."""
_FIRST_LOOK, _LAST_LOOK = 0.01, 0.25


class ScopeMember(ScopePart):
    """One scope, from its joining in this process until it is left."""

    def __init__(self, ledger: Ledger, scope: QueueScope, entry: ScopeEntry) -> None:
        super().__init__(ledger, scope, entry)
        self._settled: dict[str, None] = {}
        self._read_at = asyncio.get_running_loop().time()
        self._reading: asyncio.Task[None] | None = None

    # -- what it knows

    def standing(self, queue: str) -> int:
        """Return how many messages of a queue were not settled when that was last read."""
        self._keep_fresh()
        count = self._counts.get(queue, QueueCount())
        return max(count.announced - count.settled, 0)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Read the counts again and again from now on, and have `changed` called each time."""
        end = super().watch(changed)
        self._keep_fresh()
        return end

    async def find(self) -> ScopeEntry | None:
        """Return the scope as it stands now, None when it was deleted."""
        entry = await self._ledger.find(self.scope)
        if entry is None or entry.id != self.entry.id:
            return None
        self._counts = dict(entry.counts)
        self._read_at = asyncio.get_running_loop().time()
        return entry

    async def announced(self, ids: Sequence[str]) -> None:
        """Wait until the owner has announced messages. Raises `QueueUnavailableError` when it does not."""
        missing, pause = set(ids), _FIRST_LOOK
        try:
            async with asyncio.timeout(ANNOUNCE_SECONDS):
                while missing:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LAST_LOOK)
                    missing -= (await self._ledger.entries(self.entry, list(missing))).keys()
        except TimeoutError as error:
            raise QueueUnavailableError(
                f"no server takes in what is published for execution {self.scope.execution_id}",
                hint="see to the server that runs it, or start one; it is tried again",
            ) from error

    # -- settles

    def under_way(self, message_id: str) -> bool:
        """Tell whether a message was settled here; the oldest of very many are forgotten."""
        return message_id in self._settled

    def settling(self, message_id: str, queue: str) -> None:  # noqa: ARG002 - the owner counts by queue
        """Note that a message's settle is on its way."""
        self._settled[message_id] = None
        if len(self._settled) > MOST_REMEMBERED:
            del self._settled[next(iter(self._settled))]

    def not_settling(self, message_id: str) -> None:
        """Note that it will have to be sent again."""
        self._settled.pop(message_id, None)

    # -- claims

    def to_be_claimed(self, delivery: Delivery) -> bool:
        """Claim only what may have been handled before: the first end of a process blames nobody."""
        return delivery.repeat

    async def claim(self, message_id: str) -> None:
        """Note that a message is being handled."""
        await self._ledger.claim(self.entry, message_id)

    async def unclaim(self, ids: Sequence[str]) -> None:
        """Note that messages are not handled here any more."""
        await self._ledger.unclaim(self.entry, ids)

    # -- the end

    def end(self) -> None:
        """Read no more."""
        self._watchers.clear()
        if self._reading is not None:
            self._reading.cancel()

    # -- inside

    def _keep_fresh(self) -> None:
        """Have the counts read when they are old, and again and again while somebody watches them."""
        old = asyncio.get_running_loop().time() - self._read_at > FRESH_SECONDS
        if (old or self._watchers) and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read(), name="queue counts")

    async def _read(self) -> None:
        while True:
            try:
                await self.find()
            except QueueUnavailableError:
                pass  # what was known stays; whoever settles or publishes is told
            else:
                self._tell_watchers()
            if not self._watchers:
                return
            await asyncio.sleep(FRESH_SECONDS)
