"""That a process lives, as others can see it: a session of PostgreSQL that holds a lock of the process's own.

The lock goes with the process, however it ends. When only the session was lost it is taken again; in
between the process looks dead to whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_foundation import logs

LOOK_SECONDS = 10.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

log = logs.logger(__name__)


class Presence:
    """Shown from `show` to `close`; `number` is what others ask for."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.number = secrets.randbits(62)
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def show(self) -> None:
        """Take the lock and keep it; later calls return at once. Raises SQLAlchemyError and OSError."""
        if self._task is None:
            await self._take()
            self._task = asyncio.create_task(self._keep(), name="presence")

    async def close(self) -> None:
        """Let go of it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._drop()

    async def _take(self) -> None:
        connection = await self._engine.connect()
        try:
            connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(
                text("SELECT pg_advisory_lock(:number)"), {"number": self.number}
            )
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        self._connection = connection

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                if self._connection is None:
                    await self._take()
                    pause = FIRST_PAUSE
                else:
                    await asyncio.sleep(LOOK_SECONDS)
                    await self._connection.execute(text("SELECT 1"))
            except (SQLAlchemyError, OSError) as error:
                log.warning("presence is lost for now", reason=str(error))
                await self._drop()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError, OSError):
                await connection.invalidate()  # the session has the lock, so it has to end
                await connection.close()
