"""The tables of the queue's file, and opening it: only ours, and only once.

One row per announced message is both the queue entry and the flag that it was announced: settling
drops the body and keeps the row, so that publishing or settling again finds it done. `seq` is the
order of arrival and never changes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from factflow_protocols.errors import QueueUnavailableError

APPLICATION_ID = 0x46_46_4C_51
FORMAT = 3
BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE condition (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    clean INTEGER NOT NULL,          -- 1 after close(), 0 while open: a start that finds 0 is unclean
    repeat_below INTEGER NOT NULL,   -- messages up to this seq stood in the queue at an unclean start
    boot TEXT,                       -- which run of the machine had the file open last
    fsync INTEGER NOT NULL DEFAULT 0 -- 1 when it wrote through to the disk
);
CREATE TABLE scope (
    id INTEGER PRIMARY KEY,
    execution_id TEXT,               -- NULL: being deleted
    generation INTEGER NOT NULL,
    publisher INTEGER NOT NULL DEFAULT 0,   -- 0 none, 1 outstanding, 2 settled
    cursor INTEGER NOT NULL DEFAULT 0,
    crashed INTEGER NOT NULL DEFAULT 0,     -- 1 from its first unclean start on: claims are written
    UNIQUE (execution_id, generation)
);
CREATE TABLE message (
    seq INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    queue TEXT NOT NULL,
    state INTEGER NOT NULL,          -- 0 ready, 1 delayed, 2 settled, 3 settled as failed
    not_before REAL NOT NULL,
    repeat INTEGER NOT NULL DEFAULT 0,
    claimed INTEGER NOT NULL DEFAULT 0,     -- 1 while it is handled, once its scope has crashed
    crashes INTEGER NOT NULL DEFAULT 0,     -- unclean starts that found it claimed
    body BLOB,
    UNIQUE (scope, message_id)
);
CREATE INDEX standing ON message (scope, queue, state) WHERE state < 2;
INSERT INTO condition (only, clean, repeat_below) VALUES (1, 1, 0);
"""

_UPGRADES = {
    1: """
ALTER TABLE scope ADD COLUMN crashed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
""",
    2: """
ALTER TABLE condition ADD COLUMN boot TEXT;
ALTER TABLE condition ADD COLUMN fsync INTEGER NOT NULL DEFAULT 0;
""",
}
"""What leads from each older format to the next."""


def connect(path: Path, *, fsync: bool) -> sqlite3.Connection:
    """Open the file, make the schema in a new one. Raises `QueueUnavailableError`."""
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=64
        )
    except sqlite3.Error as error:
        raise unavailable(path, error) from error
    try:
        # Exclusive: SQLite before 3.51.3 can damage a WAL that several connections write.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        _check_origin(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA cache_size = -8192")
        _bring_up_to_date(connection)
    except sqlite3.Error as error:
        connection.close()
        raise unavailable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == FORMAT:
        return
    if version == 0:
        changes = f"{_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
    else:
        changes = "".join(_UPGRADES[older] for older in range(version, FORMAT))
    connection.executescript(f"BEGIN IMMEDIATE; {changes} PRAGMA user_version = {FORMAT}; COMMIT;")


def _check_origin(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables and not application:
        return
    if application != APPLICATION_ID:
        raise QueueUnavailableError(
            f"{path} is a database, but not one that holds Factflow's queues",
            hint="move the file away, or choose another data folder",
        )
    if version > FORMAT:
        raise QueueUnavailableError(
            f"{path} was written by a newer Factflow (format {version}; this one reads {FORMAT})",
            hint="upgrade Factflow",
        )


def unavailable(path: Path, error: sqlite3.Error) -> QueueUnavailableError:
    """Say in words what SQLite says in code."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return QueueUnavailableError(
            f"the queue file {path} is damaged or not a queue file ({error})",
            hint="move it away and start again: what was queued is rebuilt from the stored records",
        )
    if name.startswith("SQLITE_BUSY"):
        return QueueUnavailableError(
            f"the queue file {path} is in use by another process",
            hint="end the other process, or choose another data folder",
        )
    if name.startswith("SQLITE_CANTOPEN"):
        return QueueUnavailableError(
            f"the queue file {path} cannot be opened ({error})",
            hint="check that its folder exists and may be written",
        )
    return QueueUnavailableError(
        f"the queue file {path} cannot be used now: {error}",
        hint="check the free space and the permissions of its folder; it is tried again",
    )
