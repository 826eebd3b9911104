"""The tables of a pack, and opening one: only ours, with one connection that writes.

`body` grows at its end: an artefact and its record are one row. `entry` is the index, in the order of keys,
with all that a listing tells. A record's entry is its key and a sign that no key may hold and that sorts
before all others: so both kinds share a table, each in the order of its own keys, and the two entries of
one message lie on one page.
"""

from __future__ import annotations

import functools
import os
import secrets
import sqlite3
from pathlib import Path

from factflow_infra.storage.layout import TEMP_PREFIX
from factflow_protocols.errors import StorageUnavailableError

APPLICATION_ID = 0x46_46_50_4B
FORMAT = 1
PAGE_BYTES = 4096
"""Measured: larger pages write more for each entry, as keys come in no order."""
RECORD_SIGN = "\x01"
BUSY_SECONDS = 5.0
BEHIND_ALL = "\U0010ffff" * 60
"""Greater than any name: no segment may be that long."""
CHECKPOINT_PAGES = 32 * 1024 * 1024 // PAGE_BYTES
CACHE_KIB = 8 * 1024

_SCHEMA = f"""
PRAGMA page_size = {PAGE_BYTES};
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
CREATE TABLE body (
    id INTEGER PRIMARY KEY,
    record BLOB,                     -- JSON; NULL: none, or deleted
    data BLOB                        -- NULL: none, or deleted
);
CREATE TABLE entry (
    name TEXT PRIMARY KEY,           -- without what all names of the pack begin with
    is_record INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified_at REAL NOT NULL,
    body INTEGER NOT NULL
) WITHOUT ROWID;
"""


@functools.cache
def _empty_pack() -> bytes:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(_SCHEMA)
        data = bytearray(connection.serialize())
    finally:
        connection.close()
    data[18] = data[19] = 2  # as PRAGMA journal_mode = WAL writes it
    return bytes(data)


def make(path: str, *, durable: bool) -> None:
    """Make an empty pack, whole from the moment it has its name, unless there is one. Raises OSError."""
    folder = path.rpartition("/")[0]
    temporary = f"{folder}/{TEMP_PREFIX}{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, _empty_pack())
        if durable:
            os.fsync(descriptor)
        os.link(temporary, path)
    finally:
        os.close(descriptor)
        os.unlink(temporary)  # noqa: PTH108 - strings in this module


def open_to_write(path: str, *, durable: bool) -> sqlite3.Connection:
    """Open a pack that is there. Raises `sqlite3.Error` and `StorageUnavailableError`."""
    connection = _open(path, "rw")
    try:
        _check_origin(connection, path)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * PAGE_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: str) -> sqlite3.Connection:
    """Open a pack that is there; the connection writes nothing and makes no checkpoint.

    May be used by several threads, one at a time. Raises as `open_to_write` does.
    """
    connection = _open(path, "ro")
    try:
        _check_origin(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def has_log(path: str) -> bool:
    """Tell whether some of a pack's content may be in the log beside it."""
    try:
        return os.stat(f"{path}-wal").st_size > 0  # noqa: PTH116 - strings in this module
    except FileNotFoundError:
        return False


def open_unchanging(path: str) -> sqlite3.Connection:
    """Open a pack without a log for one look, where there is no room for what readers and the writer
    share, or none may be made: on a disk that is full or read-only. Raises `sqlite3.Error`."""
    return _open(path, "ro&immutable=1")


def _open(path: str, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{Path(path).as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )


def _check_origin(connection: sqlite3.Connection, path: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StorageUnavailableError(
            f"{path} is a database, but no pack of Factflow's",
            hint="move the file away, or name another storage folder",
        )
    if version > FORMAT:
        raise StorageUnavailableError(
            f"{path} was written by a newer Factflow (format {version}; this one reads {FORMAT})",
            hint="upgrade Factflow",
        )


def bounds(prefix: str) -> tuple[str, str]:
    """Return what all names below a prefix without a last slash lie between; '' is the whole pack."""
    return (f"{prefix}/", f"{prefix}0") if prefix else ("", BEHIND_ALL)


def pack_error(path: str, error: sqlite3.Error) -> StorageUnavailableError:
    """Say in words what SQLite says in code."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return StorageUnavailableError(
            f"the pack {path} is damaged or no pack ({error})", hint="restore the file from a copy"
        )
    if name.startswith("SQLITE_FULL"):
        return StorageUnavailableError(
            f"the disk that holds {path} is full", hint="free some space there"
        )
    if name.startswith("SQLITE_BUSY"):
        return StorageUnavailableError(
            f"the pack {path} is in use by another process", hint="end the other process"
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN")):
        return StorageUnavailableError(
            f"the pack {path} cannot be opened or written ({error})",
            hint="check the owner and mode of the file and its folder",
        )
    return StorageUnavailableError(
        f"the pack {path} cannot be used now: {error}",
        hint="check the disk, its free space and the permissions; it is tried again",
    )
