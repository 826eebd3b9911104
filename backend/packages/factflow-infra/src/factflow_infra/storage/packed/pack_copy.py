"""A pack without its artefacts: what stays is copied into a new file, which takes the old one's place.

To delete the entries where they are would free pages inside of the file and no byte of the disk.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3

from factflow_foundation.keys import tells_announced
from factflow_infra.storage.folders import sync_folder
from factflow_infra.storage.layout import TEMP_PREFIX
from factflow_infra.storage.packed.pack_schema import bounds, has_log, make, open_to_write
from factflow_infra.storage.packed.places import BESIDE, Pack
from factflow_protocols.errors import StorageUnavailableError

COPIED_TOGETHER = 500
_PAGE = "SELECT name, is_record, size, modified_at, body FROM entry WHERE name > ? ORDER BY name LIMIT ?"


class PackCopy:
    """One copy under way. A new one begins anew; nobody may write the pack meanwhile.

    Raises `sqlite3.Error`, OSError, and `StorageUnavailableError`.
    """

    def __init__(self, path: str, pack: Pack, prefix: str, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._low, self._high = bounds(prefix[len(pack.prefix) :])
        self._after = ""
        self.complete = False
        folder = path.rpartition("/")[0]
        self._new = f"{folder}/{TEMP_PREFIX}{secrets.token_hex(8)}"
        self._connection = open_to_write(path, durable=durable)
        try:
            make(self._new, durable=False)
            self._connection.execute("ATTACH ? AS new", (self._new,))
            # Until it has its name, nobody misses it.
            self._connection.execute("PRAGMA new.journal_mode = OFF")
            self._connection.execute("PRAGMA new.synchronous = OFF")
        except BaseException:
            self.close()
            raise

    def step(self) -> int:
        """Copy some entries; return how many were left out. `complete` is set with the last ones."""
        rows = self._connection.execute(_PAGE, (self._after, COPIED_TOGETHER)).fetchall()
        kept = [row for row in rows if not self._goes(row[0], is_record=row[1])]
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO new.entry VALUES (?, ?, ?, ?, ?)", kept)
        self._connection.executemany(
            "INSERT INTO new.body VALUES (?1, iif(?2, (SELECT record FROM main.body WHERE id = ?1), NULL),"
            " iif(?2, NULL, (SELECT data FROM main.body WHERE id = ?1)))"
            " ON CONFLICT (id) DO UPDATE SET record = coalesce(record, excluded.record),"
            " data = coalesce(data, excluded.data)",
            [(body, is_record) for _, is_record, _, _, body in kept],
        )
        self._connection.execute("COMMIT")
        if len(rows) == COPIED_TOGETHER:
            self._after = rows[-1][0]
        else:
            self.complete = True
        return len(rows) - len(kept)

    def take_place(self) -> None:
        """Put the complete, closed copy where the old pack is, of which nothing may be left in its log."""
        if has_log(self._path):
            os.unlink(self._new)  # noqa: PTH108 - strings in this package
            raise StorageUnavailableError(f"the pack {self._path} is being read; it is tried again")
        for suffix in BESIDE:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path + suffix)  # noqa: PTH108 - strings in this package
        if self._durable:
            descriptor = os.open(self._new, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.rename(self._new, self._path)  # noqa: PTH104 - strings in this package
        if self._durable:
            sync_folder(self._path.rpartition("/")[0])

    def close(self) -> None:
        """Let go of both files; a copy that is not complete goes."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
        self._connection.close()
        if not self.complete:
            with contextlib.suppress(OSError):
                os.unlink(self._new)  # noqa: PTH108 - strings in this package

    def _goes(self, name: str, *, is_record: int) -> bool:
        return _is_artefact(name, is_record) and self._low < name < self._high


def holds_artefacts(path: str, pack: Pack, prefix: str) -> bool:
    """Tell whether a pack holds an artefact below a prefix. Raises as `PackCopy` does."""
    low, high = bounds(prefix[len(pack.prefix) :])
    with contextlib.closing(open_to_write(path, durable=False)) as connection:
        found = connection.execute(
            "SELECT name FROM entry WHERE name > ? AND name < ? AND NOT is_record", (low, high)
        )
        return any(_is_artefact(name, 0) for (name,) in found)


def _is_artefact(name: str, is_record: int) -> bool:
    return not is_record and not tells_announced(name)
