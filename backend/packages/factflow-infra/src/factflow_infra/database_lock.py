"""One server for each database on PostgreSQL, as a data folder has one: a lock of the session that holds it.

A server that ends lets go of it, however it ends. When the connection is lost, the lock goes with it, and is
taken again as soon as the database answers; whoever came in between has the database then.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from typing import ClassVar

import asyncpg

from factflow_foundation import logs
from factflow_infra.postgres import CONNECT_SECONDS
from factflow_protocols.errors import FactflowError

PATIENCE_SECONDS = 5.0
"""How long a start waits for a server that has just ended."""
RETRY_SECONDS = 0.5
_KEEPALIVE = {  # so that a machine that vanished is noticed within a minute or so
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "idle_session_timeout": "0",
}
_HOLDER = """
SELECT activity.application_name FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
AND ((held.classid::bigint << 32) | held.objid::bigint) = $1
AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_log = logs.logger(__name__)


class DatabaseLockedError(FactflowError):
    """A live server has the database."""

    code: ClassVar[str] = "database_locked"

    def __init__(self, where: str, holder: str) -> None:
        super().__init__(
            f"the database {where} belongs to another server: {holder}",
            hint="stop that one, or give this one a database or a schema of its own: …?search_path=NAME",
        )


class DatabaseLock:
    """Held from `take` to `release`. `lost` says who has the database when this server lost it."""

    def __init__(self, url: str, where: str) -> None:
        self._url = url
        self._where = where
        self._connection: asyncpg.Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self.lost: str | None = None

    async def take(self) -> None:
        """Take the lock, waiting a little for a server that has just ended.

        Raises `DatabaseLockedError`, and OSError when the database does not answer.
        """
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        try:
            while (holder := await self._try()) is not None:
                if asyncio.get_running_loop().time() > deadline:
                    raise DatabaseLockedError(self._where, holder)
                await asyncio.sleep(RETRY_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError(str(error)) from error
        self._keeper = asyncio.create_task(self._keep(), name="database lock")

    async def release(self) -> None:
        """Let go of it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        connection, self._connection = self._connection, None
        if connection is not None:
            await _end(connection)

    async def _keep(self) -> None:
        """Take it again whenever the connection that had it is lost."""
        told = False  # of this outage
        while True:
            await self._closed.wait()
            try:
                holder = await self._try()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not told:
                    _log.warning("the database does not answer", url=self._where, reason=str(error))
                told = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            told = False
            if holder is not None and holder != self.lost:
                _log.error("another server has the database", url=self._where, holder=holder)
            self.lost = holder
            if holder is not None:
                await asyncio.sleep(RETRY_SECONDS)

    async def _try(self) -> str | None:
        """Take the lock; return who has it, None when we do."""
        name = f"factflow server on {socket.gethostname()}, process {os.getpid()}"
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_SECONDS,
            command_timeout=CONNECT_SECONDS,
            server_settings={"application_name": name[:63], **_KEEPALIVE},
        )
        try:
            number = _number(await connection.fetchval("SELECT current_schema()"))
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", number):
                self._closed.clear()
                connection.add_termination_listener(lambda _: self._closed.set())
                self._connection, connection = connection, None
                return None
            return str(await connection.fetchval(_HOLDER, number) or "one that is just ending")
        finally:
            if connection is not None:
                await _end(connection)


async def _end(connection: asyncpg.Connection) -> None:
    with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.close(timeout=CONNECT_SECONDS)


def _number(schema: str | None) -> int:
    digest = hashlib.sha256(f"factflow server in {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
