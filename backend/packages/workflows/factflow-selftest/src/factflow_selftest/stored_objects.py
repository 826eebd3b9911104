"""What lies in a store, read from its files alone, without any code of the server.

Objects and records are told apart by name: a record is `<key>.meta.json`, as it is among plain files.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

RECORD_SUFFIX = ".meta.json"
UNFINISHED = ".factflow-tmp-"
PACK_SUFFIX = ".pack"
PACK_OF_OTHERS = "other.pack"
RECORD_SIGN = "\x01"


class Mark(NamedTuple):
    """What an object cannot be replaced without changing: its place, its time, its size."""

    place: int
    modified: float
    size: int


class StoredObjects(Protocol):
    """All that lies in a store."""

    def names(self) -> Iterator[tuple[str, Mark]]:
        """Yield the names, in no particular order."""
        ...

    def read(self, name: str) -> bytes:
        """Return an object or a record. Raises KeyError without one."""
        ...


class PlainObjects:
    """A store of plain files."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage

    def names(self) -> Iterator[tuple[str, Mark]]:
        """Walk through the folders."""
        return self._walk(self._storage, "")

    def read(self, name: str) -> bytes:
        """Read the file."""
        try:
            return (self._storage / name).read_bytes()
        except FileNotFoundError as error:
            raise KeyError(name) from error

    def _walk(self, folder: Path, prefix: str) -> Iterator[tuple[str, Mark]]:
        if not folder.is_dir():
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(Path(entry.path), f"{prefix}{entry.name}/")
                elif not entry.name.startswith(UNFINISHED):
                    state = entry.stat()
                    yield prefix + entry.name, Mark(state.st_ino, state.st_mtime_ns, state.st_size)


class PackedObjects:
    """A packed store: a SQLite file for each execution, and one for all else. Only ever reads."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage

    def names(self) -> Iterator[tuple[str, Mark]]:
        """Read the index of each pack."""
        for path in sorted(self._storage.rglob(f"*{PACK_SUFFIX}")):
            name = str(path.relative_to(self._storage))
            prefix = "" if name == PACK_OF_OTHERS else f"{name.removesuffix(PACK_SUFFIX)}/"
            with self._opened(path) as pack:
                rows = pack.execute("SELECT name, body, modified_at, size FROM entry").fetchall()
            for stored, *mark in rows:
                shown = stored.replace(RECORD_SIGN, RECORD_SUFFIX)
                yield prefix + shown, Mark(*mark)

    def read(self, name: str) -> bytes:
        """Look the name up in its pack."""
        parts = name.split("/", 2)
        path, rest = self._storage / PACK_OF_OTHERS, name
        if parts[0] == "executions" and len(parts) == 3:  # folder, execution, rest
            path, rest = self._storage / f"executions/{parts[1]}{PACK_SUFFIX}", parts[2]
        column, stored = "data", rest
        if rest.endswith(RECORD_SUFFIX):
            column, stored = "record", rest.removesuffix(RECORD_SUFFIX) + RECORD_SIGN
        if not path.exists():
            raise KeyError(name)
        with self._opened(path) as pack:
            found = pack.execute(
                f"SELECT {column} FROM body WHERE id = (SELECT body FROM entry WHERE name = ?)",  # noqa: S608  # one of two
                (stored,),
            ).fetchone()
        if found is None or found[0] is None:
            raise KeyError(name)
        return bytes(found[0])

    @contextlib.contextmanager
    def _opened(self, path: Path) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            yield connection
        finally:
            connection.close()
