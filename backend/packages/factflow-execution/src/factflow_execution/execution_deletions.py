"""Which executions were deleted, or are to be: a row for each, which stays as its tombstone.

The row is written before anything is deleted, so whoever dies on the way is followed by one who finishes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, Select, Update, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_execution.database_reads import DatabaseReads
from factflow_execution.errors import (
    ExecutionDeletedError,
    ExecutionHeldError,
    ExecutionNotFoundError,
    ExecutionStateError,
)
from factflow_execution.models import ExecutionStatus
from factflow_execution.tables import execution_deletions as deletions
from factflow_execution.tables import execution_holds as holds
from factflow_execution.tables import execution_usages as usages
from factflow_execution.tables import executions
from factflow_execution.transitions import FINAL
from factflow_foundation.clock import Clock, SystemClock, isoformat
from factflow_foundation.crash_points import reach
from factflow_foundation.whole import whole

DeletionKind = Literal["artefacts", "all"]

IDS_TOGETHER = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What is deleted of an execution: its `artefacts`, or `all` but its row and this one.

    `deleted_at` (Unix seconds) is None as long as it is under way. `objects` and `bytes` (of the disk, where
    that is known) are counted before, `lineage_rows` go last. `tag` is the one it had.
    """

    execution_id: str
    kind: DeletionKind
    requested_at: float
    counted_at: float | None = None
    deleted_at: float | None = None
    tag: str | None = None
    objects: int = 0
    bytes: int = 0
    lineage_rows: int = 0

    @property
    def forbids_holds(self) -> bool:
        """Tell whether nobody may begin to read the execution any more."""
        return self.kind == "all" or self.deleted_at is None

    @property
    def sentence(self) -> str:
        """What a person is told who asks for what is gone."""
        what = "execution" if self.kind == "all" else "the artefacts of execution"
        were = "was" if self.kind == "all" else "were"
        if self.deleted_at is not None:
            return f"{what} {self.execution_id} {were} deleted on {isoformat(self.deleted_at)}"
        since = isoformat(self.requested_at)
        is_being = "is" if self.kind == "all" else "are"
        return f"{what} {self.execution_id} {is_being} being deleted since {since}"


class ExecutionDeletions:
    """Enters, finds and ends deletions; every write is one transaction."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock | None = None,
        reads: DatabaseReads | None = None,
    ) -> None:
        self._engine = engine
        self._reads = reads or DatabaseReads(engine)
        self._clock = clock or SystemClock()

    async def enter(self, execution_id: str, kind: DeletionKind) -> Deletion:
        """Note that an execution is to be deleted; from here on nothing keeps it. Its tag becomes free, and
        with `all` it holds no other one any more.

        Entered before, it stays as it was, unless more is to go now. Raises `ExecutionNotFoundError`,
        `ExecutionStateError` when it has not ended, `ExecutionHeldError`.
        """
        return await whole(self._enter(execution_id, kind))

    async def check_free(self, execution_id: str, without: Collection[str] = ()) -> None:
        """Raise what `enter` would; `without` are holders that are to go as well."""
        await whole(self._check_free(execution_id, without))

    async def check(self, execution_id: str) -> None:
        """Raise `ExecutionDeletedError` when all of an execution was or is being deleted."""
        found = (await self.find([execution_id])).get(execution_id)
        if found is not None and found.kind == "all":
            raise ExecutionDeletedError(found.sentence)

    async def is_going(self, execution_id: str) -> bool:
        """Tell whether all of an execution was or is being deleted."""
        found = (await self.find([execution_id])).get(execution_id)
        return found is not None and found.kind == "all"

    async def find(self, execution_ids: Iterable[str]) -> dict[str, Deletion]:
        """Return the deletions there are of some executions, by id."""
        wanted = list(execution_ids)
        return await self._reads.run(lambda c: _read_deletions(c, wanted)) if wanted else {}

    async def unfinished(self) -> list[Deletion]:
        """Return those under way, the first to come first."""
        query = (
            select(deletions)
            .where(deletions.c.deleted_at.is_(None))
            .order_by(deletions.c.requested_at, deletions.c.execution_id)
        )
        return [_deletion(row) for row in await whole(self._read(query))]

    async def candidates(
        self,
        kind: DeletionKind,
        statuses: Sequence[ExecutionStatus],
        ended_before: float | None,
        limit: int,
    ) -> list[str]:
        """Return the ids of ended executions that are not deleted yet, oldest first."""
        done = select(deletions.c.execution_id)
        if kind == "all":
            done = done.where(deletions.c.kind == "all")
        query = select(executions.c.execution_id).where(
            executions.c.status.in_(statuses), executions.c.execution_id.not_in(done)
        )
        if ended_before is not None:
            query = query.where(executions.c.completed_at < ended_before)
        query = query.order_by(executions.c.started_at, executions.c.execution_id).limit(limit)
        return [row["execution_id"] for row in await whole(self._read(query))]

    async def note_count(self, deletion: Deletion, objects: int, size: int) -> None:
        """Note how much goes, before it does; added to what went earlier."""
        query = self._under_way(deletion)
        await whole(
            self._write(
                query.values(
                    counted_at=self._clock.now(),
                    objects=deletions.c.objects + objects,
                    bytes=deletions.c.bytes + size,
                ),
                crash_point="deletion.count",
            )
        )

    async def finish(
        self, deletion: Deletion, *, kept_objects: int, kept_bytes: int, lineage_rows: int
    ) -> None:
        """Note that nothing is left to be deleted, unless more is to go by now; some of what was counted
        stayed."""
        query = self._under_way(deletion)
        await whole(
            self._write(
                query.values(
                    deleted_at=self._clock.now(),
                    objects=deletions.c.objects - kept_objects,
                    bytes=deletions.c.bytes - kept_bytes,
                    lineage_rows=deletions.c.lineage_rows + lineage_rows,
                ),
                crash_point="deletion.finish",
            )
        )

    async def _check_free(self, execution_id: str, without: Collection[str]) -> None:
        async with self._engine.connect() as connection:
            await _check_free(connection, execution_id, without)

    async def _read(self, query: Select[Any]) -> Sequence[RowMapping]:
        async with self._engine.connect() as connection:
            found: Sequence[RowMapping] = (await connection.execute(query)).mappings().all()
            return found

    @staticmethod
    def _under_way(deletion: Deletion) -> Update:
        return update(deletions).where(
            deletions.c.execution_id == deletion.execution_id,
            deletions.c.kind == deletion.kind,
            deletions.c.deleted_at.is_(None),
        )

    async def _enter(self, execution_id: str, kind: DeletionKind) -> Deletion:
        now = self._clock.now()
        async with self._engine.begin() as connection:
            await _lock(connection, execution_id)
            known = (await find_deletions(connection, [execution_id])).get(execution_id)
            if known is not None and kind in ("artefacts", known.kind):
                return known
            tag = await _check_free(connection, execution_id)
            if known is None:
                row = Deletion(execution_id=execution_id, kind=kind, requested_at=now, tag=tag)
                values = {name: getattr(row, name) for name in Deletion.__slots__}
                await connection.execute(deletions.insert().values(values))
            else:
                await connection.execute(
                    update(deletions)
                    .where(deletions.c.execution_id == execution_id)
                    .values(kind=kind, requested_at=now, counted_at=None, deleted_at=None, tag=tag)
                )
            if kind == "all":
                mine = executions.c.execution_id == execution_id
                await connection.execute(update(executions).where(mine).values(tag=None))
                await connection.execute(delete(holds).where(holds.c.holder_id == execution_id))
            await connection.execute(delete(usages).where(usages.c.execution_id == execution_id))
            reach("deletion.enter.before")
            entered = (await find_deletions(connection, [execution_id]))[execution_id]
        reach("deletion.enter.after")
        return entered

    async def _write(self, query: Any, *, crash_point: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(query)
            reach(f"{crash_point}.before")
        reach(f"{crash_point}.after")


async def _lock(connection: AsyncConnection, execution_id: str) -> None:
    """Wait for those who take holds on an execution, and have others wait until the commit."""
    query = select(executions.c.execution_id).where(executions.c.execution_id == execution_id)
    await connection.execute(query.with_for_update())


async def lock_for_holds(connection: AsyncConnection, execution_ids: Collection[str]) -> None:
    """Wait for those who enter a deletion of one of these, and have others wait until the commit.

    With SQLite there is nothing to wait for: one transaction writes at a time.
    """
    wanted = sorted(execution_ids)  # in one order, so that no two wait for each other
    for first in range(0, len(wanted), IDS_TOGETHER):
        some = wanted[first : first + IDS_TOGETHER]
        query = select(executions.c.execution_id).where(executions.c.execution_id.in_(some))
        ordered = query.order_by(executions.c.execution_id)
        await connection.execute(ordered.with_for_update(read=True, key_share=True))


async def find_deletions(
    connection: AsyncConnection, execution_ids: Sequence[str]
) -> dict[str, Deletion]:
    """Return the deletions there are of some executions, by id, as a transaction sees them."""
    return await connection.run_sync(_read_deletions, execution_ids)


def _read_deletions(connection: Connection, execution_ids: Sequence[str]) -> dict[str, Deletion]:
    found: dict[str, Deletion] = {}
    for first in range(0, len(execution_ids), IDS_TOGETHER):
        some = execution_ids[first : first + IDS_TOGETHER]
        query = select(deletions).where(deletions.c.execution_id.in_(some))
        for row in connection.execute(query).mappings():
            found[row["execution_id"]] = _deletion(row)
    return found


async def _check_free(
    connection: AsyncConnection, execution_id: str, without: Collection[str] = ()
) -> str | None:
    """Return the tag of an execution that nothing needs; raises when something does."""
    wanted = select(executions.c.status, executions.c.tag).where(
        executions.c.execution_id == execution_id
    )
    found = (await connection.execute(wanted)).first()
    if found is None:
        raise ExecutionNotFoundError(execution_id)
    if found.status not in FINAL:
        raise ExecutionStateError(
            f"execution {execution_id} is {found.status} and cannot be deleted",
            hint=f"factflow execution cancel {execution_id}, or wait for its end",
        )
    held = select(holds.c.holder_id).where(holds.c.execution_id == execution_id)
    ordered = held.order_by(holds.c.taken_at, holds.c.holder_id)
    found_holders = (await connection.execute(ordered)).scalars()
    holders = [holder for holder in found_holders if holder not in without]
    if holders:
        raise ExecutionHeldError(execution_id, holders)
    tag: str | None = found.tag
    return tag


def _deletion(row: Any) -> Deletion:
    return Deletion(**row)
