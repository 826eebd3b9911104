"""SQLite engines: one connection that writes a file, any number that only read it.

SQLite before 3.51.3 can damage a WAL that several connections write or checkpoint, so a writing engine
has exactly one connection and a reading engine opens the file in SQLite's read-only mode, which does
neither. One process makes one writing engine per file; the lock on the data folder keeps others away.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Literal

import aiosqlite
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, QueuePool

BUSY_MILLISECONDS = 5_000
READERS = 4
CACHE_KIB = 16_384
CHECKPOINT_PAGES = 8_000
"""Of 4 KiB; eight times SQLite's own choice."""


def sqlite_engine(
    path: Path,
    *,
    read_only: bool = False,
    pool_size: int | None = None,
    durability: Literal["os", "fsync"] = "os",
    many_writes: bool = False,
) -> AsyncEngine:
    """Return an engine for the file; nothing is opened before its first use.

    Writing: one connection, which others wait for; the file is made when absent, in WAL mode; what is
    committed survives the process (`"os"`) or the machine (`"fsync"`). Each transaction takes the
    write lock at its start and covers schema changes too. Reading: `pool_size` connections (4), each
    transaction sees one state of the file, and an absent file is an error.
    The engine's `url` names the file. `many_writes` is for a file that rows are poured into: more of it is
    kept in memory, and pages that change again and again go from the log to the file less often.
    `await engine.dispose()` ends the connections' threads; without it the process does not end cleanly.
    Raises ValueError for a writing engine with more than one connection.
    """
    if not read_only and pool_size not in {None, 1}:
        raise ValueError("an engine that writes SQLite has exactly one connection (pool_size=1)")
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"

    async def connect() -> aiosqlite.Connection:
        connection = aiosqlite.connect(uri, uri=True, isolation_level=None)
        try:
            return await connection
        except BaseException:
            # The driver's thread reports its end to the loop: stay until it has.
            await asyncio.to_thread(connection._thread.join)
            raise

    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path.absolute())),
        async_creator=connect,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=(pool_size or READERS) if read_only else 1,
        max_overflow=0,
    )
    pragmas = [f"busy_timeout = {BUSY_MILLISECONDS}", "foreign_keys = ON"]
    if not read_only:
        synchronous = "FULL" if durability == "fsync" else "NORMAL"
        pragmas += ["journal_mode = WAL", f"synchronous = {synchronous}"]
        pragmas += ["journal_size_limit = 67108864"]
        if many_writes:
            pragmas += [f"cache_size = -{CACHE_KIB}", f"wal_autocheckpoint = {CHECKPOINT_PAGES}"]

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # The driver's own transactions leave out reads and schema changes; ours hold everything.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def sqlite_reader(path: Path, *, pool_size: int = 2) -> Engine:
    """Return an engine whose `pool_size` connections only read an existing file, for use in threads.

    Each transaction sees one state of the file, and waits for no writer. `engine.dispose()` closes it.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path.absolute())),
        creator=lambda: sqlite3.connect(
            uri,
            uri=True,
            isolation_level=None,
            check_same_thread=False,  # the pool lends each connection to one thread at a time
            timeout=BUSY_MILLISECONDS / 1000,
        ),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
