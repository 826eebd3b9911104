"""The keys that an execution's records name, in a file of their own: there may be more than memory holds."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

DIGEST_BYTES = 16
TOGETHER = 2_000
CACHE_KIB = 8 * 1024


class NamedKeys:
    """A set of keys on disk; gone when it is left. Calls must not overlap."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        # An empty name is a file that the system deletes with the connection.
        self._file = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._file.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("CREATE TABLE named (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    async def add(self, keys: Iterable[str]) -> None:
        """Take keys in."""
        self._waiting += map(_digest, keys)
        if len(self._waiting) >= TOGETHER:
            await asyncio.to_thread(self._write)

    async def without(self, keys: Sequence[str]) -> list[str]:
        """Return those of some keys that were never taken in."""
        return await asyncio.to_thread(self._without, keys)

    def _write(self) -> None:
        digests = [(digest,) for digest in self._waiting]
        self._waiting = []
        self._file.executemany("INSERT OR IGNORE INTO named VALUES (?)", digests)

    def _without(self, keys: Sequence[str]) -> list[str]:
        self._write()
        return [
            key
            for key in keys
            if self._file.execute("SELECT 1 FROM named WHERE digest = ?", [_digest(key)]).fetchone()
            is None
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=DIGEST_BYTES).digest()
