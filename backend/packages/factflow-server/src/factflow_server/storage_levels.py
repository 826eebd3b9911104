"""How much lies below what a level of the tree of keys shows, as far as there is time to count it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from factflow_protocols.storage import ObjectInfo, StorageProtocol, StorageUsage


@dataclass(frozen=True, slots=True)
class LevelEntry:
    """An object, or a prefix with what lies below it: at least so much, unless it is `complete`."""

    kind: Literal["prefix", "object"]
    key: str
    size: int
    objects: int
    records: int
    complete: bool


class LevelCounter:
    """Counts below one prefix after the other, for `seconds` in all (None: as long as it takes)."""

    def __init__(self, storage: StorageProtocol, seconds: float | None) -> None:
        self._storage = storage
        self._until = None if seconds is None else time.monotonic() + seconds

    async def entry(self, item: ObjectInfo | str) -> LevelEntry:
        """Return an entry of a level with its sums."""
        if isinstance(item, ObjectInfo):
            return LevelEntry("object", item.key, item.size, 1, 0, complete=True)
        usage, complete = await self._count(item)
        return LevelEntry("prefix", item, usage.bytes, usage.objects, usage.records, complete)

    async def _count(self, prefix: str) -> tuple[StorageUsage, bool]:
        sums = StorageUsage()
        if self._is_late():
            return sums, False
        counting = self._storage.usage(prefix)
        async for sums in counting:
            if self._is_late():
                return sums, False
        return sums, True

    def _is_late(self) -> bool:
        return self._until is not None and time.monotonic() > self._until
