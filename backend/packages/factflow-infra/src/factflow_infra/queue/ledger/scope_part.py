"""What a process has to do with a scope's ledger, whether it owns the scope or takes part in it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from factflow_infra.queue.ledger.batch import LedgerEntry, QueueCount, ScopeEntry
from factflow_infra.queue.ledger.ledger import Ledger
from factflow_protocols.queue import Delivery, QueueScope

LOOK_AGAIN_SECONDS = (0.05, 0.15, 0.3, 0.5)
"""A process dies for the broker and for the database at about the same time, in either order."""


class ScopePart(ABC):
    """What its methods return is committed; they raise `QueueUnavailableError`."""

    def __init__(self, ledger: Ledger, scope: QueueScope, entry: ScopeEntry) -> None:
        self.scope = scope
        self.entry = entry
        self._ledger = ledger
        self._counts: dict[str, QueueCount] = dict(entry.counts)
        self._watchers: list[Callable[[], None]] = []

    # -- what it knows

    @property
    def queues(self) -> list[str]:
        """Return every queue that messages were announced for."""
        return list(self._counts)

    @abstractmethod
    def standing(self, queue: str) -> int:
        """Return how many messages of a queue are not settled, as far as is known here."""

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have `changed` called after the counts have changed; return what ends that."""
        self._watchers.append(changed)

        def end() -> None:
            if changed in self._watchers:
                self._watchers.remove(changed)

        return end

    # -- settles between their publishing and their commit

    @abstractmethod
    def under_way(self, message_id: str) -> bool:
        """Tell whether a message's settle was handed to the broker here, and the ledger may not have it."""

    @abstractmethod
    def settling(self, message_id: str, queue: str) -> None:
        """Note that a message's settle is on its way."""

    @abstractmethod
    def not_settling(self, message_id: str) -> None:
        """Note that it will have to be sent again."""

    # -- looking up

    async def entries(self, ids: Sequence[str]) -> dict[str, LedgerEntry]:
        """Look messages up; one whose settle is under way counts as settled."""
        under_way = [message_id for message_id in ids if self.under_way(message_id)]
        found = await self._ledger.entries(self.entry, ids)
        for message_id in under_way:
            if message_id in found:
                found[message_id] = replace(found[message_id], settled=True)
        return found

    async def came_again(self, ids: Sequence[str]) -> dict[str, LedgerEntry]:
        """Look up what the broker delivered again. When a process ended while it handled one of them,
        that is one more of the message's crashes, whoever finds out first."""
        found = await self.entries(ids)
        for seconds in LOOK_AGAIN_SECONDS:
            claimed = self._claimed_by_others(found)
            if not claimed:
                break
            counted = await self._ledger.count_crashes(self.entry, claimed)
            for message_id, crashes in counted.items():
                known = found[message_id]
                found[message_id] = replace(
                    known, crashes=known.crashes if crashes is None else crashes, claimant=None
                )
            still = [message_id for message_id in claimed if message_id not in counted]
            if not still:
                break
            await asyncio.sleep(seconds)
            found |= await self.entries(still)
        return found

    # -- claims

    @abstractmethod
    def to_be_claimed(self, delivery: Delivery) -> bool:
        """Tell whether the handling of a delivery is to be claimed."""

    @abstractmethod
    async def claim(self, message_id: str) -> None:
        """Note that a message is being handled."""

    @abstractmethod
    async def unclaim(self, ids: Sequence[str]) -> None:
        """Note that messages are not handled here any more."""

    async def note_lap(self, message_id: str, laps: int) -> None:
        """Note that a message's next attempt, before which it had so many, is with the broker."""
        await self._ledger.note_lap(self.entry, message_id, laps)

    # -- queues

    async def name_queues(self, names: Sequence[str]) -> list[str]:
        """Note queues that are about to be made, so that they are deleted with the scope; return those
        that have to be made."""
        return await self._ledger.name_queues(self.entry, names)

    async def queues_made(self, names: Sequence[str]) -> bool:
        """Note that they are made; False when the scope was deleted meanwhile."""
        return await self._ledger.queues_made(self.entry, names)

    # -- the end

    @abstractmethod
    def end(self) -> None:
        """End all waiting, with `asyncio.CancelledError`."""

    # -- inside

    def _claimed_by_others(self, found: Mapping[str, LedgerEntry]) -> dict[str, int]:
        return {
            message_id: entry.claimant
            for message_id, entry in found.items()
            if entry.claimant is not None
            and entry.claimant != self._ledger.claimant
            and not entry.settled
        }

    def _tell_watchers(self) -> None:
        for changed in self._watchers:
            asyncio.get_running_loop().call_soon(changed)
