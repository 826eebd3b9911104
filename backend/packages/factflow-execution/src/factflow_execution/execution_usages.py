"""What each execution takes of the storage: counted behind the work, kept until that changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.models import ExecutionSummary
from factflow_execution.tables import execution_deletions as deletions
from factflow_execution.tables import execution_usages as usages
from factflow_execution.tables import executions
from factflow_execution.transitions import FINAL
from factflow_execution.upsert import upsert
from factflow_foundation.clock import Clock, SystemClock
from factflow_foundation.whole import whole
from factflow_protocols.storage import StorageUsage

STALE_SECONDS = 60.0
"""How old a count of an execution that still runs may be."""

_SUMMARY = [column for column in executions.c if column is not executions.c.config_snapshot]
_gone = select(deletions.c.execution_id).where(deletions.c.kind == "all")
_there = executions.c.execution_id.not_in(_gone)


@dataclass(frozen=True, slots=True)
class CountedExecution:
    """An execution with what it takes, as it was counted at `counted_at`; None before the first count."""

    execution: ExecutionSummary
    usage: StorageUsage | None
    counted_at: float | None


@dataclass(frozen=True, slots=True)
class UsageSums:
    """What all counted executions take; `count` is of all there are, `counted` of those in the sum."""

    count: int
    counted: int
    usage: StorageUsage


class ExecutionUsages:
    """Keeps counts; every write is one transaction."""

    def __init__(self, engine: AsyncEngine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or SystemClock()

    async def largest(self, limit: int, offset: int = 0) -> Sequence[CountedExecution]:
        """Return executions by what they take of the disk, the largest first, those not counted last."""
        query = (
            select(*_SUMMARY, *(column.label(f"usage_{name}") for name, column in usages.c.items()))
            .outerjoin(usages, usages.c.execution_id == executions.c.execution_id)
            .where(_there)
            .order_by(func.coalesce(usages.c.disk_bytes, -1).desc(), executions.c.execution_id)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query.limit(limit).offset(offset))).mappings().all()
        found = []
        for row in rows:
            own = {name: value for name, value in row.items() if not name.startswith("usage_")}
            usage = None
            if row["usage_counted_at"] is not None:
                names = ("objects", "records", "bytes", "disk_bytes")
                usage = StorageUsage(*(row[f"usage_{name}"] for name in names))
            found.append(CountedExecution(ExecutionSummary(**own), usage, row["usage_counted_at"]))
        return found

    async def sums(self, ended_before: float | None = None) -> UsageSums:
        """Return what all executions take, or those that ended before a time."""
        columns = [
            func.coalesce(func.sum(usages.c[name]), 0)
            for name in ("objects", "records", "bytes", "disk_bytes")
        ]
        query = (
            select(func.count(), func.count(usages.c.execution_id), *columns)
            .select_from(executions)
            .outerjoin(usages, usages.c.execution_id == executions.c.execution_id)
            .where(_there)
        )
        if ended_before is not None:
            query = query.where(executions.c.completed_at < ended_before)
            query = query.where(executions.c.status.in_(FINAL))
        async with self._engine.connect() as connection:
            count, counted, *sums = (await connection.execute(query)).one()
        return UsageSums(count, counted, StorageUsage(*sums))

    async def to_count(self, *, anew: bool = False) -> list[str]:
        """Return the executions whose count is missing or may be out of date, the newest first."""
        query: Select[str] = select(executions.c.execution_id).outerjoin(
            usages, usages.c.execution_id == executions.c.execution_id
        )
        running = executions.c.status.in_(["running", "interrupted"])
        old = self._clock.now() - STALE_SECONDS
        if not anew:
            query = query.where(
                or_(
                    usages.c.counted_at.is_(None),
                    usages.c.counted_at < executions.c.completed_at,
                    and_(running, usages.c.counted_at < old),
                )
            )
        query = query.where(_there).order_by(executions.c.started_at.desc())
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).scalars())

    async def put(self, execution_id: str, usage: StorageUsage, counted_at: float) -> None:
        """Keep a count that was begun at a time."""
        await whole(self._put(execution_id, usage, counted_at))

    async def _put(self, execution_id: str, usage: StorageUsage, counted_at: float) -> None:
        counted = {
            "objects": usage.objects,
            "records": usage.records,
            "bytes": usage.bytes,
            "disk_bytes": usage.disk_bytes,
            "counted_at": counted_at,
        }
        insert = upsert(self._engine.dialect.name, usages)
        query = insert.values(execution_id=execution_id, **counted).on_conflict_do_update(
            index_elements=[usages.c.execution_id], set_=counted
        )
        async with self._engine.begin() as connection:
            await connection.execute(query)
