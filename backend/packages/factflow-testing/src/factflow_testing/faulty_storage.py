"""A store that can be switched off, over a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from factflow_protocols.errors import RecordDamagedError, StorageUnavailableError
from factflow_protocols.storage import (
    ObjectInfo,
    RecordInfo,
    StorageProtocol,
    StorageUsage,
)


class FaultyStorage:
    """Fulfils `StorageProtocol`; while `full` is set every write says the disk is full, and while
    `away` is set no read is answered; of keys that hold `at`, when that is given.

    `refused` counts the calls that were turned away.
    """

    def __init__(self, real: StorageProtocol, *, at: str = "") -> None:
        self._real = real
        self._at = at
        self.full = False
        self.away = False
        self.refused = 0

    async def write(
        self,
        key: str,
        data: bytes | None,
        metadata: Mapping[str, Any] | None = None,
        *,
        extension: str = "",
    ) -> str | None:
        if self.full and self._at in key:
            self.refused += 1
            raise StorageUnavailableError("no space left on the device")
        return await self._real.write(key, data, metadata, extension=extension)

    async def read(self, key: str) -> bytes:
        if self.away and self._at in key:
            self.refused += 1
            raise StorageUnavailableError("the store does not answer")
        return await self._real.read(key)

    async def exists(self, key: str) -> bool:
        return await self._real.exists(key)

    def list(
        self, prefix: str, *, records: bool = False, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        return self._real.list(prefix, records=records, ordered=ordered)

    def list_records(self, prefix: str, *, alone: bool = False) -> AsyncIterator[RecordInfo]:
        return self._real.list_records(prefix, alone=alone)

    async def page(self, prefix: str, *, after: str = "", limit: int) -> Sequence[ObjectInfo]:
        return await self._real.page(prefix, after=after, limit=limit)

    async def level(
        self, prefix: str, *, after: str = "", limit: int
    ) -> Sequence[ObjectInfo | str]:
        return await self._real.level(prefix, after=after, limit=limit)

    def usage(self, prefix: str) -> AsyncIterator[StorageUsage]:
        return self._real.usage(prefix)

    async def metadata(self, key: str) -> dict[str, Any]:
        return await self._real.metadata(key)

    async def metadata_of(
        self, keys: Sequence[str]
    ) -> Sequence[dict[str, Any] | RecordDamagedError | None]:
        return await self._real.metadata_of(keys)

    async def missing(self, keys: Sequence[str]) -> Sequence[str]:
        return await self._real.missing(keys)

    async def info(self, key: str) -> ObjectInfo:
        return await self._real.info(key)

    async def delete(self, key: str) -> None:
        await self._real.delete(key)

    async def delete_prefix(
        self,
        prefix: str,
        *,
        artefacts_only: bool = False,
        tell: Callable[[int], None] | None = None,
    ) -> None:
        await self._real.delete_prefix(prefix, artefacts_only=artefacts_only, tell=tell)

    async def close(self) -> None:
        await self._real.close()
