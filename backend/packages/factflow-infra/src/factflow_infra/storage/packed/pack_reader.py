"""The reading half of a packed store, in plain blocking calls on connections that only read.

A statement is finished before a method returns, so nothing that is read holds up the writer.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from factflow_infra.storage.disk_errors import is_reachable, storage_error
from factflow_infra.storage.packed.entry_sweep import beside_records
from factflow_infra.storage.packed.pack_schema import (
    RECORD_SIGN,
    bounds,
    has_log,
    open_to_read,
    open_unchanging,
    pack_error,
)
from factflow_infra.storage.packed.places import (
    BESIDE,
    OTHER,
    Pack,
    holds_other_keys,
    pack_of,
    packs_below,
)
from factflow_protocols.storage import ObjectInfo, RecordInfo

PACKS_OPEN = 16
PAGE_ENTRIES = 500
NAMES_TOGETHER = 100
"""Names in one statement, so that there are few different ones; a last one of fewer is filled up."""

_FIND = "SELECT size, modified_at FROM entry WHERE name = ?"
_DATA = (
    "SELECT size, CASE WHEN size <= ? THEN (SELECT data FROM body WHERE id = entry.body) END"
    " FROM entry WHERE name = ?"
)
_RECORD = "SELECT record FROM body WHERE id = (SELECT body FROM entry WHERE name = ?)"
_PAGE = (
    "SELECT name, size, modified_at FROM entry"
    " WHERE name > ? AND name < ? AND is_record = ? ORDER BY name LIMIT ?"
)
_SWEEP = "SELECT name, is_record FROM entry WHERE name > ? AND name < ? ORDER BY name LIMIT ?"
_MARKS = ",".join("?" * NAMES_TOGETHER)
_RECORDS = (
    "SELECT name, (SELECT record FROM body WHERE id = entry.body) FROM entry"  # noqa: S608 - marks
    f" WHERE name IN ({_MARKS})"
)
_STANDING = f"SELECT name FROM entry WHERE name IN ({_MARKS}) AND NOT is_record"  # noqa: S608 - marks


class PackReader:
    """Reads packs below one root. Keys are checked ones. Several threads may use it, one at a time.

    Every method raises `StorageUnavailableError` when the root is gone or a pack cannot be read.
    """

    def __init__(self, root: Path, *, packs_open: int = PACKS_OPEN) -> None:
        self._root = root
        self._packs_open = packs_open
        self._open: OrderedDict[Pack, sqlite3.Connection] = OrderedDict()
        self._lock = threading.RLock()

    def find(self, name: str) -> ObjectInfo | None:
        """Return what a listing tells of an object, None when there is none."""
        pack = pack_of(name)
        rows = self.ask(pack, _FIND, (name[len(pack.prefix) :],))
        return ObjectInfo(name, *rows[0]) if rows else None

    def read(self, name: str, *, limit: int) -> tuple[int, bytes | None] | None:
        """Return an object's size, and its bytes unless they are more than `limit`; None without one."""
        pack = pack_of(name)
        rows = self.ask(pack, _DATA, (limit, name[len(pack.prefix) :]))
        return (rows[0][0], rows[0][1]) if rows else None

    def record(self, key: str) -> bytes | None:
        """Return the JSON of a record, None when there is none."""
        pack = pack_of(key)
        rows = self.ask(pack, _RECORD, (key[len(pack.prefix) :] + RECORD_SIGN,))
        return rows[0][0] if rows else None

    def walk(self, prefix: str, *, records: bool, after: str = "") -> Iterator[ObjectInfo]:
        """Yield what lies below a prefix ('' is the root), in the order of keys, a page at a time; only
        what comes behind the key `after`."""
        others: Iterable[ObjectInfo] = ()
        if holds_other_keys(prefix):
            others = self._pages(OTHER, prefix, records=records, behind=after)
        yield from heapq.merge(
            self._executions(prefix, records=records, after=after),
            others,
            key=lambda info: info.key,
        )

    def walk_records(self, prefix: str, *, alone: bool) -> Iterator[RecordInfo]:
        """Yield the keys below a prefix that have a record, in their order, with the objects beside them;
        with `alone` only those without."""
        sweeps = self._sweeps(prefix)
        others = self._sweep(OTHER, prefix) if holds_other_keys(prefix) else ()
        found = heapq.merge(sweeps, beside_records(others), key=lambda info: info.key)
        return (info for info in found if not (alone and info.objects))

    def records(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the JSON of those keys' records that there are."""
        rows = self._ask_for_names(_RECORDS, [key + RECORD_SIGN for key in keys])
        return {name.removesuffix(RECORD_SIGN): record for name, record in rows}

    def standing(self, names: Sequence[str]) -> set[str]:
        """Return those of some names that an object is stored under."""
        return {name for (name,) in self._ask_for_names(_STANDING, names)}

    def _ask_for_names(self, statement: str, names: Sequence[str]) -> Iterator[list[Any]]:
        """Yield rows that begin with one of the names, given and returned in full."""
        by_pack: dict[Pack, list[str]] = {}
        for name in names:
            by_pack.setdefault(pack_of(name), []).append(name)
        for pack, inside in by_pack.items():
            for first in range(0, len(inside), NAMES_TOGETHER):
                part = [name[len(pack.prefix) :] for name in inside[first : first + NAMES_TOGETHER]]
                part += part[-1:] * (NAMES_TOGETHER - len(part))
                for row in self.ask(pack, statement, tuple(part)):
                    yield [pack.prefix + row[0], *row[1:]]

    def packs(self, prefix: str) -> list[Pack]:
        """Return the packs that are there and may hold keys below a prefix, those of executions first."""
        try:
            found = list(packs_below(self._root, prefix))
        except OSError as error:
            raise storage_error(error, self._root, prefix) from error
        if holds_other_keys(prefix):
            found.append(OTHER)
        return [pack for pack in found if os.path.lexists(f"{self._root}/{pack.file}")]

    def disk_bytes(self, pack: Pack) -> int:
        """Return what a pack takes of the disk, with what is beside it."""
        total = 0
        for suffix in ("", *BESIDE):
            with contextlib.suppress(OSError):
                total += os.lstat(f"{self._root}/{pack.file}{suffix}").st_blocks * 512
        return total

    def forget(self, prefix: str) -> None:
        """Let go of packs that may be gone: those below a prefix ('' is the root)."""
        with self._lock:
            for pack in list(self._open):
                if not prefix or f"{pack.prefix or pack.file}/".startswith(f"{prefix}/"):
                    self._open.pop(pack).close()

    def close(self) -> None:
        """Let go of all packs."""
        self.forget("")

    def _executions(self, prefix: str, *, records: bool, after: str) -> Iterator[ObjectInfo]:
        try:
            for pack in packs_below(self._root, prefix):
                if pack.prefix > after:
                    yield from self._pages(pack, prefix, records=records)
                elif after.startswith(pack.prefix):
                    yield from self._pages(pack, prefix, records=records, behind=after)
        except OSError as error:
            # Whatever it was, a listing that is cut short must not pass for a whole one.
            raise storage_error(error, self._root, prefix) from error

    def _pages(
        self, pack: Pack, prefix: str, *, records: bool, behind: str = ""
    ) -> Iterator[ObjectInfo]:
        after, high = bounds(prefix[len(pack.prefix) :])
        after = max(after, behind[len(pack.prefix) :])
        sign = len(RECORD_SIGN) if records else 0
        while True:
            rows = self.ask(pack, _PAGE, (after, high, records, PAGE_ENTRIES))
            for name, size, modified_at in rows:
                yield ObjectInfo(pack.prefix + name[: len(name) - sign], size, modified_at)
            if len(rows) < PAGE_ENTRIES:
                return
            after = rows[-1][0]

    def _sweeps(self, prefix: str) -> Iterator[RecordInfo]:
        try:
            for pack in packs_below(self._root, prefix):
                yield from beside_records(self._sweep(pack, prefix))
        except OSError as error:
            raise storage_error(error, self._root, prefix) from error

    def _sweep(self, pack: Pack, prefix: str) -> Iterator[tuple[str, bool]]:
        """Yield all entries of a pack below a prefix, in order, and whether each is a record's."""
        after, high = bounds(prefix[len(pack.prefix) :])
        while True:
            rows = self.ask(pack, _SWEEP, (after, high, PAGE_ENTRIES))
            for name, is_record in rows:
                yield pack.prefix + name, bool(is_record)
            if len(rows) < PAGE_ENTRIES:
                return
            after = rows[-1][0]

    def ask(self, pack: Pack, statement: str, values: tuple[object, ...]) -> list[Any]:
        """Return the rows of a short statement; none when there is no such pack."""
        path = f"{self._root}/{pack.file}"
        try:
            with self._lock:
                connection = self._connection(pack, path)
                if connection is not None:
                    return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self.forget(pack.prefix.rstrip("/"))
            if isinstance(error, sqlite3.OperationalError) and not has_log(path):
                with (
                    contextlib.suppress(sqlite3.Error),
                    contextlib.closing(open_unchanging(path)) as alone,
                ):
                    return alone.execute(statement, values).fetchall()
            if not is_reachable(self._root):
                raise storage_error(FileNotFoundError(), self._root, pack.file) from error
            raise pack_error(path, error) from error
        except OSError as error:
            raise storage_error(error, self._root, pack.file) from error
        if not is_reachable(self._root):
            raise storage_error(FileNotFoundError(), self._root, pack.file)
        return []

    def _connection(self, pack: Pack, path: str) -> sqlite3.Connection | None:
        connection = self._open.get(pack)
        if connection is not None:
            self._open.move_to_end(pack)
            return connection
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(path)
            while len(self._open) >= self._packs_open:
                self._open.popitem(last=False)[1].close()
            connection = self._open[pack] = open_to_read(path)
        return connection
