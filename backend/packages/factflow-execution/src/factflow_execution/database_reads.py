"""Reading configs and executions: each read sees one state of the database, however much it asks.

SQLite's asynchronous driver hops to its thread for every step of a transaction, a dozen times for a
listing, and each hop waits behind what the event loop is doing. So a whole read of a file is one hop, to a
thread and a connection of its own. PostgreSQL's driver has no threads: there, reads go over the engine that
writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation.whole import whole

T = TypeVar("T")
Work = Callable[[Connection], T]

THREADS = 2


class DatabaseReads:
    """Runs reads, each on one state of the database. `close` ends its threads and the reader.

    Without a `reader`, of which there is none for PostgreSQL, reads go over the engine that writes.
    """

    def __init__(self, engine: AsyncEngine, reader: Engine | None = None) -> None:
        self._engine = engine
        self._reader = reader
        self._threads = ThreadPoolExecutor(THREADS, "factflow-read") if reader else None

    async def run(self, work: Work[T]) -> T:
        """Return what `work` reads. It gets a connection within a transaction, and must not write."""
        if self._reader is None:
            return await whole(self._over_the_writer(work))
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, _read, self._reader, work
        )

    async def close(self) -> None:
        """Wait for reads under way and let go of the file."""
        if self._reader is not None and self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
            self._reader.dispose()

    async def _over_the_writer(self, work: Work[T]) -> T:
        async with self._engine.connect() as connection:
            if self._engine.dialect.name == "postgresql":
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            return await connection.run_sync(work)


def _read(engine: Engine, work: Work[T]) -> T:
    with engine.connect() as connection:
        return work(connection)
