"""Who waits for whom, as PostgreSQL sees it: a test goes on when another transaction has come to a lock."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_testing.waiting import eventually

_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))")


async def wait_or_done(
    engine: AsyncEngine, holder: AsyncConnection, task: asyncio.Task[Any]
) -> bool:
    """Return True once somebody waits for a lock of `holder`, False when `task` has ended before."""
    pid = (await holder.execute(text("SELECT pg_backend_pid()"))).scalar_one()

    async def waits() -> bool:
        async with engine.connect() as connection:
            return bool((await connection.execute(_WAITING, {"pid": pid})).scalar_one())

    async def either() -> bool:
        return task.done() or await waits()

    await eventually(either)
    return not task.done()
