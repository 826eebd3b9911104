"""Tells outside of the store which commits succeeded, for those who check the store.

Keys are derived, so a second commit of one would leave no trace in a store that replaced things. In the
journal it is a second line.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from factflow_protocols.errors import RecordDamagedError
from factflow_protocols.storage import (
    ObjectInfo,
    RecordInfo,
    StorageProtocol,
    StorageUsage,
)


class JournalledStorage:
    """Another store, whose every successful write with metadata appends a line to a file.

    A line is a JSON object: `pid`, `key` of the record, `object` (the name that counts, null when there
    was no data), `object_sha256`, and `record_sha256` over the record as JSON with sorted keys and no
    spaces. A write whose caller gave up, so that nobody knows whether it took place, has `given_up`
    instead of the hashes. Each line begins with a line end, and is one `write()` with `O_APPEND`.
    """

    def __init__(self, real: StorageProtocol, path: Path) -> None:
        self._real = real
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)

    async def write(
        self,
        key: str,
        data: bytes | None,
        metadata: Mapping[str, Any] | None = None,
        *,
        extension: str = "",
    ) -> str | None:
        """Write, then tell."""
        try:
            name = await self._real.write(key, data, metadata, extension=extension)
        except asyncio.CancelledError:
            if metadata is not None:
                self._tell(key, given_up=True)
            raise
        if metadata is not None:
            record = dict(metadata) if name is None else {**metadata, "output_key": name}
            text = json.dumps(record, sort_keys=True, separators=(",", ":"))
            self._tell(
                key,
                object=name,
                object_sha256=None if data is None else hashlib.sha256(data).hexdigest(),
                record_sha256=hashlib.sha256(text.encode()).hexdigest(),
            )
        return name

    def _tell(self, key: str, **fields: Any) -> None:
        line = json.dumps({"pid": os.getpid(), "key": key, **fields})
        os.write(self._file, b"\n" + line.encode())

    async def read(self, key: str) -> bytes:
        """Ask the real store."""
        return await self._real.read(key)

    async def exists(self, key: str) -> bool:
        """Ask the real store."""
        return await self._real.exists(key)

    def list(
        self, prefix: str, *, records: bool = False, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """Ask the real store."""
        return self._real.list(prefix, records=records, ordered=ordered)

    def list_records(self, prefix: str, *, alone: bool = False) -> AsyncIterator[RecordInfo]:
        """Ask the real store."""
        return self._real.list_records(prefix, alone=alone)

    async def page(self, prefix: str, *, after: str = "", limit: int) -> Sequence[ObjectInfo]:
        """Ask the real store."""
        return await self._real.page(prefix, after=after, limit=limit)

    async def level(
        self, prefix: str, *, after: str = "", limit: int
    ) -> Sequence[ObjectInfo | str]:
        """Ask the real store."""
        return await self._real.level(prefix, after=after, limit=limit)

    def usage(self, prefix: str) -> AsyncIterator[StorageUsage]:
        """Ask the real store."""
        return self._real.usage(prefix)

    async def metadata(self, key: str) -> dict[str, Any]:
        """Ask the real store."""
        return await self._real.metadata(key)

    async def metadata_of(
        self, keys: Sequence[str]
    ) -> Sequence[dict[str, Any] | RecordDamagedError | None]:
        """Ask the real store."""
        return await self._real.metadata_of(keys)

    async def missing(self, keys: Sequence[str]) -> Sequence[str]:
        """Ask the real store."""
        return await self._real.missing(keys)

    async def info(self, key: str) -> ObjectInfo:
        """Ask the real store."""
        return await self._real.info(key)

    async def delete(self, key: str) -> None:
        """Ask the real store."""
        await self._real.delete(key)

    async def delete_prefix(
        self,
        prefix: str,
        *,
        artefacts_only: bool = False,
        tell: Callable[[int], None] | None = None,
    ) -> None:
        """Ask the real store."""
        await self._real.delete_prefix(prefix, artefacts_only=artefacts_only, tell=tell)

    async def close(self) -> None:
        """Close the real store and the journal; repeated calls do nothing more."""
        await self._real.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
