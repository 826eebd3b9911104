"""Executions in the database. A status is only ever changed by comparing and setting it."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    RowMapping,
    Select,
    Update,
    and_,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.database_reads import DatabaseReads
from factflow_execution.errors import TagTakenError
from factflow_execution.execution_events import Event, ExecutionEvents
from factflow_execution.execution_leases import Lease, hold_lease
from factflow_execution.models import ExecutionStatus, ExecutionSummary, Page, PipelineExecution
from factflow_execution.tables import execution_deletions as deletions
from factflow_execution.tables import executions
from factflow_execution.transitions import sources_of
from factflow_foundation.crash_points import reach
from factflow_foundation.whole import whole

CANCEL_REQUESTED = "cancel_requested"
GRACE_SECONDS = 10.0
"""How long messages in hand may go on after a cancel, when it says nothing else."""
PIPELINES_LOOKED_AT = 50
"""Different pipelines among which one with a certain route is looked for."""
_SUMMARY = [column for column in executions.c if column is not executions.c.config_snapshot]


class ExecutionRepository:
    """Reads and writes executions; every write is one transaction."""

    def __init__(
        self,
        engine: AsyncEngine,
        reads: DatabaseReads | None = None,
        events: ExecutionEvents | None = None,
    ) -> None:
        self._engine = engine
        self._reads = reads or DatabaseReads(engine)
        self.events = events or ExecutionEvents(engine)

    async def insert(self, execution: PipelineExecution) -> None:
        """Store a new execution. Raises `TagTakenError`."""
        query = executions.insert().values(asdict(execution))
        started = Event("started", execution.started_at, {"status": execution.status})
        try:
            await whole(
                self._write(query, execution.execution_id, started, crash_point="execution.insert")
            )
        except IntegrityError as error:
            if execution.tag is not None and await self.tag_taken(execution.tag):
                raise TagTakenError(execution.tag) from error
            raise

    async def get(self, id_or_tag: str) -> PipelineExecution | None:
        """Return the execution with this id or tag, None when there is none."""
        query = select(executions).where(
            or_(executions.c.execution_id == id_or_tag, executions.c.tag == id_or_tag)
        )
        found = await self._read(query)
        return _to_execution(found[0]) if found else None

    async def with_idempotency_key(self, key: str) -> PipelineExecution | None:
        """Return the execution that was started under this key, None when there is none."""
        found = await self._read(select(executions).where(executions.c.idempotency_key == key))
        return _to_execution(found[0]) if found else None

    async def tag_taken(self, tag: str) -> bool:
        """Tell whether an execution has this tag."""
        query = select(executions.c.execution_id).where(executions.c.tag == tag)
        return bool(await self._read(query))

    async def list(
        self, status: ExecutionStatus | None, limit: int, offset: int, *, deleted: bool = False
    ) -> Page[ExecutionSummary]:
        """Return a page of executions, newest first, without the texts they run; with `deleted` those too
        of which only this is left."""
        query, count = select(*_SUMMARY), select(func.count()).select_from(executions)
        if not deleted:
            gone = and_(
                deletions.c.execution_id == executions.c.execution_id, deletions.c.kind == "all"
            )
            query = query.outerjoin(deletions, gone).where(deletions.c.execution_id.is_(None))
            count = count.outerjoin(deletions, gone).where(deletions.c.execution_id.is_(None))
        if status is not None:
            query = query.where(executions.c.status == status)
            count = count.where(executions.c.status == status)
        query = query.order_by(executions.c.started_at.desc(), executions.c.execution_id.desc())

        def read(connection: Connection) -> tuple[int, list[ExecutionSummary]]:
            total = connection.execute(count).scalar_one()
            rows = connection.execute(query.limit(limit).offset(offset)).mappings()
            return total, [ExecutionSummary(**row) for row in rows]

        total, rows = await self._reads.run(read)
        return Page(rows, total, limit, offset)

    async def newest_naming(self, text: str) -> builtins.list[PipelineExecution]:
        """Return executions whose pipeline has this text in it, the newest of each pipeline, newest first; of
        `PIPELINES_LOOKED_AT` pipelines, and none that was deleted."""
        c = executions.c
        gone = select(deletions.c.execution_id).where(deletions.c.kind == "all")
        naming = and_(
            c.config_snapshot.contains(text, autoescape=True), c.execution_id.not_in(gone)
        )
        newest = func.max(c.started_at)
        hashes = select(c.config_hash).where(naming).group_by(c.config_hash)
        hashes = hashes.order_by(newest.desc()).limit(PIPELINES_LOOKED_AT)

        def read(connection: Connection) -> builtins.list[PipelineExecution]:
            return [
                _to_execution(
                    connection.execute(
                        select(executions)
                        .where(c.config_hash == config_hash, c.execution_id.not_in(gone))
                        .order_by(c.started_at.desc(), c.execution_id.desc())
                        .limit(1)
                    )
                    .mappings()
                    .one()
                )
                for config_hash in connection.execute(hashes).scalars().all()
            ]

        return await self._reads.run(read)

    async def move(
        self,
        execution_id: str,
        to: ExecutionStatus,
        event: Event | None = None,
        *,
        lease: Lease | None = None,
        **values: Any,
    ) -> bool:
        """Set the status, with `values` for other columns, if the present status allows it.

        The event that tells of it is written with it. False when the status does not allow it, or when
        there is no such execution; nothing is changed then. Raises `LeaseLostError` when another server
        has the execution by now, of which `lease` says that it is ours.
        """
        query = (
            update(executions)
            .where(
                executions.c.execution_id == execution_id,
                executions.c.status.in_(sources_of(to)),
            )
            .values(status=to, **values)
        )
        changed = await whole(
            self._write(query, execution_id, event, lease, crash_point="execution.status")
        )
        return changed == 1

    async def take_over(self, execution_id: str, lease: Lease, event: Event, **values: Any) -> bool:
        """Set what changes of a running execution that another server had; False when it runs no more.

        Raises `LeaseLostError`.
        """
        query = update(executions).where(
            executions.c.execution_id == execution_id, executions.c.status == "running"
        )
        write = self._write(
            query.values(**values), execution_id, event, lease, crash_point="execution.taken"
        )
        return await whole(write) == 1

    async def update(self, execution_id: str, **values: Any) -> None:
        """Set other columns than the status."""
        query = update(executions).where(executions.c.execution_id == execution_id)
        await whole(
            self._write(query.values(**values), execution_id, crash_point="execution.update")
        )

    async def request_cancel(
        self, execution_id: str, at: float, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        """Note that someone asked for its end; no restart makes it run again from here on."""
        query = update(executions).where(executions.c.execution_id == execution_id)
        await whole(
            self._write(
                query.values(cancel_requested=True),
                execution_id,
                Event(CANCEL_REQUESTED, at, {"grace_seconds": grace_seconds}),
                crash_point="execution.cancel",
            )
        )

    async def grace_of_cancel(self, execution_id: str) -> float | None:
        """Return the grace period that was given first by whoever asked for its end; None when nobody did."""
        found = await self.get(execution_id)
        if found is None or not found.cancel_requested:
            return None
        asked = [
            event.data.get("grace_seconds", GRACE_SECONDS)
            for event in await self.events.after(execution_id, 0)
            if event.kind == CANCEL_REQUESTED
        ]
        return float(asked[0]) if asked else GRACE_SECONDS

    async def note_lineage_loss(self) -> None:
        """Note for all executions that ended that lineage may lack their rows."""
        query = update(executions).where(
            executions.c.lineage_gap == 0, executions.c.status.not_in(["running", "interrupted"])
        )
        async with self._engine.begin() as connection:
            await connection.execute(query.values(lineage_gap=1))

    async def with_lineage_gap(self) -> builtins.list[str]:
        """Return the ids of ended executions whose lineage lacks rows, oldest first."""
        return await self._ids(
            executions.c.lineage_gap > 0, executions.c.status.not_in(["running", "interrupted"])
        )

    async def with_status(self, status: ExecutionStatus) -> builtins.list[str]:
        """Return the ids of executions in a status, oldest first."""
        return await self._ids(executions.c.status == status)

    async def count_by_status(self) -> dict[ExecutionStatus, int]:
        """Return how many executions there are in each status; those without any are left out."""
        query = select(executions.c.status, func.count().label("number"))
        found = await whole(self._read(query.group_by(executions.c.status)))
        return {row["status"]: row["number"] for row in found}

    async def _ids(self, *conditions: ColumnElement[bool]) -> builtins.list[str]:
        query = (
            select(executions.c.execution_id)
            .where(*conditions)
            .order_by(executions.c.started_at, executions.c.execution_id)
        )
        return [row["execution_id"] for row in await self._read(query)]

    async def _read(self, query: Select[Any]) -> Sequence[RowMapping]:
        return await self._reads.run(lambda c: c.execute(query).mappings().all())

    async def _write(
        self,
        query: Insert | Update,
        execution_id: str,
        event: Event | None = None,
        lease: Lease | None = None,
        *,
        crash_point: str,
    ) -> int:
        """Run a statement as one transaction, with the event that tells of it if it changed anything;
        return how many rows it changed."""
        async with self._engine.begin() as connection:
            if lease is not None:
                await hold_lease(connection, lease)
            count = (await connection.execute(query)).rowcount
            if event is not None and count:
                await self.events.add(connection, execution_id, event)
            reach(f"{crash_point}.before")
        reach(f"{crash_point}.after")
        self.events.tell(execution_id)
        return count


def _to_execution(row: RowMapping) -> PipelineExecution:
    return PipelineExecution(**row)
