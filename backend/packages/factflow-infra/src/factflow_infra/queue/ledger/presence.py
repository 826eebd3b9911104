"""How others know that this process lives: a session of the ledger's database holds a lock of its number.

The lock goes with the session, however the process ends. When only the session is lost it is taken again with
the same number, as soon as the database answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_foundation import logs
from factflow_protocols.errors import QueueUnavailableError

RETRY_SECONDS = 0.5
CLOSE_SECONDS = 5.0
_SETTINGS = (
    "SET idle_session_timeout = 0",
    # A machine that vanished is noticed within a minute or so.
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)

log = logs.logger(__name__)


class Presence:
    """Told from `start` to `close`. With a ledger in SQLite there is one process, number 0, and nothing to
    tell."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.shared = engine.dialect.name == "postgresql"
        """Whether other processes can have this ledger too."""
        self.claimant = secrets.randbits(62) + 1 if self.shared else 0
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()

    async def start(self) -> None:
        """Be there from now on. Raises `QueueUnavailableError`."""
        if not self.shared or self._keeper is not None:
            return
        try:
            await self._enter()
        except (SQLAlchemyError, OSError) as error:
            raise QueueUnavailableError(
                f"the ledger of the queues cannot be used now: {getattr(error, 'orig', None) or error}",
                hint="see to its database; it is tried again",
            ) from error
        self._keeper = asyncio.create_task(self._keep(), name="presence")

    async def close(self) -> None:
        """Be gone."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._leave()

    # -- inside

    async def _keep(self) -> None:
        while True:
            await self._lost.wait()
            await self._leave()
            try:
                await self._enter()
            except (SQLAlchemyError, OSError) as error:
                log.info("not present", reason=str(getattr(error, "orig", None) or error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _enter(self) -> None:
        connection = await self._engine.connect()
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            driver = (await connection.get_raw_connection()).driver_connection
            await connection.run_sync(lambda one: one.detach())  # the pool has another one instead
            for setting in _SETTINGS:
                await connection.execute(text(setting))
            taken = text("SELECT pg_advisory_lock(:number)")
            await connection.execute(taken, {"number": self.claimant})
            self._lost.clear()
            if driver is None or driver.is_closed():
                self._lost.set()
            else:
                driver.add_termination_listener(lambda _: self._lost.set())
        except BaseException:
            self._connection = connection
            await self._leave()
            raise
        self._connection = connection

    async def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()
