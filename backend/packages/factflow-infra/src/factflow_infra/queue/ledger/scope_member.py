"""One who takes part in a scope that another process owns: looks messages up and claims them, counts nothing.

What settles goes to the owner through the broker. Which settles are on their way is known here for the
latest ones only: a message that comes again after that is found in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from factflow_infra.queue.ledger.batch import Announced, LedgerEntry, QueueCount, ScopeEntry
from factflow_infra.queue.ledger.ledger import Ledger
from factflow_protocols.queue import Delivery, QueueScope

MOST_UNDER_WAY = 20_000


class ScopeMember:
    """What a scope's queues ask for in a process that does not own it; as `ScopeOwner` for the rest.

    Its methods raise `QueueUnavailableError`.
    """

    def __init__(self, ledger: Ledger, scope: QueueScope, entry: ScopeEntry, claimant: int) -> None:
        self.scope = scope
        self.entry = entry
        self._ledger = ledger
        self._claimant = claimant
        self._counts: Mapping[str, QueueCount] = dict(entry.counts)
        self._under_way: dict[str, None] = {}

    @property
    def queues(self) -> list[str]:
        """Return the queues that were named when counts were last read."""
        return list(self._counts)

    def standing(self, queue: str) -> int:
        """Return how many messages of a queue had not settled when counts were last read."""
        count = self._counts.get(queue)
        return 0 if count is None else max(count.announced - count.settled, 0)

    async def refresh(self) -> None:
        """Read the counts."""
        entry = await self._ledger.find(self.scope)
        if entry is not None:
            self._counts = entry.counts

    def claims(self, delivery: Delivery) -> bool:
        """Tell whether a message's claim is written down: when somebody had it in hand before."""
        return delivery.repeat

    def under_way(self, message_id: str) -> bool:
        """Tell whether a message's settle was handed to the broker here, not long ago."""
        return message_id in self._under_way

    def settling(self, message_id: str, queue: str) -> None:  # noqa: ARG002 - as its owner has it
        """Note that a message's settle is on its way."""
        self._under_way[message_id] = None
        while len(self._under_way) > MOST_UNDER_WAY:
            del self._under_way[next(iter(self._under_way))]

    def not_settling(self, message_id: str) -> None:
        """Note that it will have to be sent again."""
        self._under_way.pop(message_id, None)

    async def known(self, announced: Sequence[Announced]) -> Mapping[str, LedgerEntry]:
        """Return those of the messages that the owner knows already."""
        return await self.entries([one.message_id for one in announced])

    async def claim(self, message_id: str) -> None:
        """Note that a message is being handled here."""
        await self._ledger.claim(self.entry, [message_id], self._claimant)

    async def unclaim(self, message_id: str) -> None:
        """Note that it is not handled any more."""
        await self._ledger.unclaim(self.entry, [message_id], self._claimant)

    async def note_lap(self, message_id: str, laps: int) -> None:
        """Note that a message was replaced by its next attempt, which is the `laps`-th to be."""
        await self._ledger.note_lap(self.entry, message_id, laps)

    async def name_queues(self, names: Iterable[str]) -> None:
        """Note queues that are about to be made, so that they are deleted with the scope."""
        await self._ledger.name_more_queues(self.entry, self.scope, list(names))

    async def entries(self, ids: Sequence[str]) -> dict[str, LedgerEntry]:
        """Look messages up; one whose settle is under way counts as settled."""
        under_way = [message_id for message_id in ids if message_id in self._under_way]
        found = await self._ledger.entries(self.entry, ids, blame=True)
        for message_id in under_way:
            entry = found.get(message_id)
            crashes = 0 if entry is None else entry.crashes
            queue = "" if entry is None else entry.queue
            found[message_id] = LedgerEntry(queue, settled=True, crashes=crashes)
        return found

    async def caught_up(self, seconds: float) -> bool:  # noqa: ARG002 - as its owner has it
        """Return at once: what settled is the owner's to know."""
        return True

    def end(self) -> None:
        """Return: nobody waits here for the end of a scope."""
