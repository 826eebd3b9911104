"""Who still reads what an execution stored: a replay holds its sources, so that nobody deletes them.

A hold is a row, taken before the replay selects anything. It goes when the replay has `completed`; one that
ended otherwise keeps its sources, since it may be what its own repair has to be made from.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.database_reads import DatabaseReads
from factflow_execution.errors import ExecutionDeletedError
from factflow_execution.execution_deletions import find_deletions, lock_for_holds
from factflow_execution.tables import execution_holds as holds
from factflow_execution.tables import executions
from factflow_foundation.clock import Clock, SystemClock
from factflow_foundation.whole import whole


class ExecutionHolds:
    """Takes, finds and releases holds; every call is one transaction."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock | None = None,
        reads: DatabaseReads | None = None,
    ) -> None:
        self._engine = engine
        self._reads = reads or DatabaseReads(engine)
        self._clock = clock or SystemClock()

    async def take(
        self, holder_id: str, execution_ids: Iterable[str], *, if_there: Iterable[str] = ()
    ) -> None:
        """Hold executions for another one, which need not exist yet; of those in `if_there` the ones that
        are not deleted.

        Raises `ExecutionDeletedError` for one that was or is being deleted, and holds none then.
        """
        must = list(dict.fromkeys(execution_ids))
        may = [execution_id for execution_id in dict.fromkeys(if_there) if execution_id not in must]
        await whole(self._insert(holder_id, must, may))

    async def held_by(self, execution_id: str) -> list[str]:
        """Return the executions that hold this one, the first to come first."""
        query = (
            select(holds.c.holder_id)
            .where(holds.c.execution_id == execution_id)
            .order_by(holds.c.taken_at, holds.c.holder_id)
        )
        return await self._reads.run(lambda connection: list(connection.execute(query).scalars()))

    async def release(self, holder_id: str) -> None:
        """Let go of all that an execution holds; nothing held is no error."""
        await whole(self._delete(holder_id))

    async def release_dead(self, older_than: float = 0.0) -> None:
        """Let go of what nobody will release any more: for start-up, when no request is under way that is
        older than so many seconds.

        These are requests that ended before their execution was entered, and executions that completed
        in a moment when the release could not be written.
        """
        alive = select(executions.c.execution_id).where(executions.c.status != "completed")
        async with self._engine.begin() as connection:
            dead = delete(holds).where(holds.c.holder_id.not_in(alive))
            before = self._clock.now() - older_than
            await connection.execute(dead.where(holds.c.taken_at <= before))

    async def _insert(self, holder_id: str, must: list[str], may: list[str]) -> None:
        now = self._clock.now()
        async with self._engine.begin() as connection:
            # Whoever enters a deletion looks at holds in one transaction, as this looks at deletions. Both
            # lock the executions first, so that the later one sees what the earlier one wrote.
            await lock_for_holds(connection, [*must, *may])
            deletions = await find_deletions(connection, [*must, *may])
            refused = {key: one for key, one in deletions.items() if one.forbids_holds}
            for execution_id in must:
                if execution_id in refused:
                    raise ExecutionDeletedError(refused[execution_id].sentence)
            rows = [
                {"execution_id": execution_id, "holder_id": holder_id, "taken_at": now}
                for execution_id in [*must, *may]
                if execution_id not in refused
            ]
            if rows:
                await connection.execute(holds.insert(), rows)

    async def _delete(self, holder_id: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(delete(holds).where(holds.c.holder_id == holder_id))
