"""Which server runs an execution: a lease that its owner renews, and another may take over when it ran out.

Each change of owner counts the epoch up. What an owner writes of an execution carries its epoch, and is
refused when it is not the present one: a server that slept through its own replacement changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_execution.database_clock import database_now
from factflow_execution.tables import execution_leases as leases
from factflow_execution.tables import executions
from factflow_execution.transitions import FINAL
from factflow_execution.upsert import upsert
from factflow_foundation.clock import Clock, SystemClock
from factflow_foundation.whole import whole
from factflow_protocols.errors import FactflowError


@dataclass(frozen=True, slots=True)
class Lease:
    """That an owner has an execution, and for the how-many-th time that was decided."""

    execution_id: str
    owner: str
    epoch: int


class LeaseLostError(FactflowError):
    """Another server runs the execution by now; what this one says of it counts no more."""

    code: ClassVar[str] = "lease_lost"

    def __init__(self, lease: Lease) -> None:
        super().__init__(
            f"execution {lease.execution_id} belongs to another server since {lease.owner} had it",
            hint="nothing is to be done: the other one goes on with it",
        )


class ExecutionLeases:
    """Takes, renews and ends the leases of one owner; every call is one transaction.

    A lease lasts `seconds` from when it was taken or renewed, by the clock of the database, which all servers
    share; of a file, by the clock of its one server.
    """

    def __init__(
        self, engine: AsyncEngine, owner: str, seconds: float, clock: Clock | None = None
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._seconds = seconds
        self._clock = clock or SystemClock()

    async def take(self, execution_id: str) -> Lease | None:
        """Return the lease of an execution that nobody has, or whose owner let it run out; None while
        another owner has it. Taken twice, it is the same one."""
        return await whole(self._take(execution_id))

    async def renew(self, held: Iterable[Lease]) -> list[Lease]:
        """Make leases last from now; return those that are lost, since another owner took over."""
        return await whole(self._renew(list(held)))

    async def release(self, lease: Lease) -> None:
        """Let another owner take an execution at once; a lease that is lost already is left alone."""
        await whole(self._release(lease))

    async def owner_of(self, execution_id: str) -> str | None:
        """Return who has an execution; None when nobody has, or its owner let the lease run out."""
        query = select(leases.c.owner).where(
            leases.c.execution_id == execution_id, leases.c.expires_at > self._now()
        )
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def left(self) -> list[str]:
        """Return executions that have not ended and that no owner has, the oldest first."""
        query = (
            select(executions.c.execution_id)
            .outerjoin(leases, leases.c.execution_id == executions.c.execution_id)
            .where(
                executions.c.status.not_in(FINAL),
                or_(leases.c.expires_at.is_(None), leases.c.expires_at <= self._now()),
            )
            .order_by(executions.c.started_at, executions.c.execution_id)
        )
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).scalars())

    async def _take(self, execution_id: str) -> Lease | None:
        now = self._now()
        insert = upsert(self._engine.dialect.name, leases).values(
            execution_id=execution_id, owner=self._owner, epoch=1, expires_at=now + self._seconds
        )
        mine = leases.c.owner == self._owner
        over = leases.c.expires_at <= now
        query = insert.on_conflict_do_update(
            index_elements=[leases.c.execution_id],
            set_={
                "owner": self._owner,
                "epoch": case((mine & ~over, leases.c.epoch), else_=leases.c.epoch + 1),
                "expires_at": now + self._seconds,
            },
            where=mine | over,
        ).returning(leases.c.epoch)
        async with self._engine.begin() as connection:
            epoch = (await connection.execute(query)).scalar_one_or_none()
        return None if epoch is None else Lease(execution_id, self._owner, epoch)

    async def _renew(self, held: list[Lease]) -> list[Lease]:
        kept: set[str] = set()
        async with self._engine.begin() as connection:
            for lease in sorted(held, key=lambda lease: lease.execution_id):
                query = update(leases).where(*_is(lease)).returning(leases.c.execution_id)
                renewed = query.values(expires_at=self._now() + self._seconds)
                kept.update((await connection.execute(renewed)).scalars())
        return [lease for lease in held if lease.execution_id not in kept]

    async def _release(self, lease: Lease) -> None:
        async with self._engine.begin() as connection:
            # The row stays, since it has the epoch.
            await connection.execute(update(leases).where(*_is(lease)).values(expires_at=0.0))

    def _now(self) -> ColumnElement[float]:
        return database_now(self._engine, self._clock)


async def hold_lease(connection: AsyncConnection, lease: Lease) -> None:
    """Have nobody take an execution over before the commit. Raises `LeaseLostError`."""
    query = select(leases.c.execution_id).where(*_is(lease)).with_for_update(read=True)
    if (await connection.execute(query)).first() is None:
        raise LeaseLostError(lease)


def _is(lease: Lease) -> tuple[Any, ...]:
    return (
        leases.c.execution_id == lease.execution_id,
        leases.c.owner == lease.owner,
        leases.c.epoch == lease.epoch,
    )
