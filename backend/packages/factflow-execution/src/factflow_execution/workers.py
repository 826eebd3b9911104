"""Which processes work on executions, as the database knows it: a row that each renews, a share for each
execution it works on or cannot work on.

A worker that has not been seen for `SILENT_SECONDS` counts as gone. Of what it worked on lineage may lack
its last rows, and the executions are noted to have a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    case,
    delete,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.database_clock import database_now
from factflow_execution.tables import executions, worker_shares, workers
from factflow_execution.upsert import upsert
from factflow_foundation.clock import Clock, SystemClock
from factflow_foundation.crash_points import reach
from factflow_foundation.whole import whole

BEAT_SECONDS = 5.0
"""How often a worker says that it is there."""
SILENT_SECONDS = 20.0

ShareState = Literal["working", "rested", "refused"]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as it was last seen. `routes` None: all; `concurrency` None: as each pipeline says. Times
    are Unix seconds; `holding` says why its routes hold, by execution and route as `ID/ROUTE`."""

    worker_id: str
    host: str
    pid: int
    routes: tuple[str, ...] | None = None
    concurrency: int | None = None
    started_at: float = 0.0
    seen_at: float = 0.0
    holding: Mapping[str, str] | None = None

    def serves(self, route_id: str) -> bool:
        """Tell whether it takes messages of a route."""
        return self.routes is None or route_id in self.routes


@dataclass(frozen=True, slots=True)
class Share:
    """A worker's part in an execution: it works on it, has come to rest, or cannot work on it, and why."""

    execution_id: str
    worker_id: str
    generation: int
    state: ShareState
    reason: str | None = None
    missing_rows: int = 0


class Workers:
    """Reads and writes the rows; every call is one transaction."""

    def __init__(self, engine: AsyncEngine, clock: Clock | None = None) -> None:
        self.engine = engine
        self._clock = clock or SystemClock()

    # -- what a worker says of itself

    async def enter(self, worker: Worker) -> None:
        """Note a worker that begins, or one that was taken for gone meanwhile."""
        insert = upsert(self.engine.dialect.name, workers).values(
            worker_id=worker.worker_id,
            host=worker.host,
            pid=worker.pid,
            routes=None if worker.routes is None else list(worker.routes),
            concurrency=worker.concurrency,
            started_at=self._now(),
            seen_at=self._now(),
            holding={},
        )
        again = insert.on_conflict_do_update(
            index_elements=[workers.c.worker_id], set_={"seen_at": self._now()}
        )
        await whole(self._write(again))

    async def beat(self, worker_id: str, holding: Mapping[str, str]) -> bool:
        """Say that a worker is there, and why its routes hold; False when it was taken for gone."""
        query = update(workers).where(workers.c.worker_id == worker_id)
        return (
            await whole(self._write(query.values(seen_at=self._now(), holding=dict(holding)))) > 0
        )

    async def leave(self, worker_id: str) -> None:
        """Forget a worker that ends in order, and its shares: it has written what it had."""
        await whole(
            self._write(
                delete(worker_shares).where(worker_shares.c.worker_id == worker_id),
                delete(workers).where(workers.c.worker_id == worker_id),
            )
        )

    async def share(self, share: Share) -> None:
        """Note what a worker does with an execution."""
        insert = upsert(self.engine.dialect.name, worker_shares).values(
            execution_id=share.execution_id,
            worker_id=share.worker_id,
            generation=share.generation,
            state=share.state,
            reason=share.reason,
            missing_rows=share.missing_rows,
        )
        changed = ("generation", "state", "reason", "missing_rows")
        reach("worker.share.before")
        await whole(
            self._write(
                insert.on_conflict_do_update(
                    index_elements=[worker_shares.c.execution_id, worker_shares.c.worker_id],
                    set_={name: insert.excluded[name] for name in changed},
                )
            )
        )
        reach("worker.share.after")

    async def end_share(self, execution_id: str, worker_id: str) -> None:
        """Forget a worker's part in an execution."""
        this = (
            worker_shares.c.execution_id == execution_id,
            worker_shares.c.worker_id == worker_id,
        )
        await whole(self._write(delete(worker_shares).where(*this)))

    # -- what others ask

    async def all(self) -> list[Worker]:
        """Return the workers that are there, the oldest first."""
        query = select(workers).where(self._seen()).order_by(workers.c.started_at)
        async with self.engine.connect() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [
            Worker(**{**row, "routes": None if row["routes"] is None else tuple(row["routes"])})
            for row in found
        ]

    async def shares(self, execution_id: str) -> list[Share]:
        """Return the shares of an execution that workers have who are there."""
        return await self._shares(worker_shares.c.execution_id == execution_id)

    async def all_shares(self) -> list[Share]:
        """Return the shares that workers have who are there."""
        return await self._shares()

    async def forget_shares(self, execution_id: str) -> int:
        """Forget all shares of an execution that ended; return how many lineage rows are missing, at
        least one when a worker did not come to rest."""
        missing = case((worker_shares.c.state == "working", 1), else_=worker_shares.c.missing_rows)
        query = (
            delete(worker_shares)
            .where(worker_shares.c.execution_id == execution_id)
            .returning(missing)
        )
        return await whole(self._delete_counting(query))

    async def forget_gone(self) -> Sequence[str]:
        """Forget workers that are gone; return the executions whose lineage may lack rows of theirs, which
        is noted for each that has ended."""
        return await whole(self._forget_gone())

    # -- inside

    async def _shares(self, *which: ColumnElement[bool]) -> list[Share]:
        columns = [worker_shares.c[name] for name in Share.__slots__]
        query = (
            select(*columns)
            .join(workers, workers.c.worker_id == worker_shares.c.worker_id)
            .where(*which, self._seen())
            .order_by(worker_shares.c.execution_id, worker_shares.c.worker_id)
        )
        async with self.engine.connect() as connection:
            return [Share(**row) for row in (await connection.execute(query)).mappings()]

    async def _forget_gone(self) -> Sequence[str]:
        gone = select(workers.c.worker_id).where(~self._seen())
        left = worker_shares.c.worker_id.in_(gone) | worker_shares.c.worker_id.not_in(
            select(workers.c.worker_id)
        )
        async with self.engine.begin() as connection:
            query = delete(worker_shares).where(left)
            returning = query.returning(worker_shares.c.execution_id, worker_shares.c.state)
            rows = (await connection.execute(returning)).all()
            worked_on = sorted({row.execution_id for row in rows if row.state == "working"})
            if worked_on:
                await connection.execute(
                    update(executions)
                    .where(executions.c.execution_id.in_(worked_on))
                    .where(executions.c.lineage_gap == 0)
                    .values(lineage_gap=1)
                )
            await connection.execute(delete(workers).where(~self._seen()))
        return worked_on

    async def _write(self, *queries: Any) -> int:
        count = 0
        async with self.engine.begin() as connection:
            for query in queries:
                count = (await connection.execute(query)).rowcount
        return count

    async def _delete_counting(self, query: Any) -> int:
        async with self.engine.begin() as connection:
            return sum((await connection.execute(query)).scalars())

    def _seen(self) -> ColumnElement[bool]:
        return workers.c.seen_at > self._now() - SILENT_SECONDS

    def _now(self) -> ColumnElement[float]:
        return database_now(self.engine, self._clock)
