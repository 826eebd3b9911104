"""Deletes what executions stored, one after the other, behind the work.

What is to go is entered first and removed then, in small steps that can all be done again: the next start
goes on where this one ended. Objects go before lineage: rows can be made from records, the reverse not.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.errors import ExecutionStateError
from factflow_execution.execution_deletions import Deletion, DeletionKind, ExecutionDeletions
from factflow_execution.execution_service import ExecutionService
from factflow_execution.lease_keeper import LeaseKeeper
from factflow_execution.models import ExecutionStatus, ExecutionSummary
from factflow_execution.transitions import FINAL
from factflow_foundation import keys, logs
from factflow_foundation.clock import Clock, SystemClock
from factflow_lineage.errors import LineageUnavailableError
from factflow_lineage.writer import LineageService
from factflow_protocols.errors import FactflowError, StorageUnavailableError
from factflow_protocols.storage import StorageProtocol, StorageUsage

LOOK_SECONDS = 60.0
"""How often deletions are looked for that another server began, and may not have come to end."""
RETRY_SECONDS = 5.0
CLOSE_SECONDS = 5.0
"""How long closing waits for what is under way: a server that stops must end."""

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class DeletionRequest:
    """What is to be deleted: executions by id or tag, and those that match. `older_than` is in seconds
    since the end. Of those that match, at most `limit`, the oldest first."""

    execution_ids: tuple[str, ...] = ()
    older_than: float | None = None
    statuses: tuple[ExecutionStatus, ...] = ()
    kind: DeletionKind = "all"
    limit: int = 1000

    @property
    def matches_some(self) -> bool:
        """Tell whether executions are looked for that nobody named."""
        return self.older_than is not None or bool(self.statuses)


@dataclass(frozen=True, slots=True)
class Choice:
    """An execution of a request: its `deletion`, entered now or before, or why it is `refused`. Neither in
    a dry run of what would be entered. `named` tells that somebody asked for this very one."""

    execution: ExecutionSummary
    named: bool
    deletion: Deletion | None = None
    refused: FactflowError | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a deletion is: files or entries that went, and what it waits for."""

    deletion: Deletion
    step: str
    removed: int
    trouble: str | None


class ExecutionDeleter:
    """One background task: sleeps until something is to be deleted."""

    def __init__(
        self,
        *,
        executions: ExecutionService,
        deletions: ExecutionDeletions,
        storage: StorageProtocol,
        lineage: LineageService,
        clock: Clock | None = None,
        leases: LeaseKeeper | None = None,
    ) -> None:
        self._executions = executions
        self._deletions = deletions
        self._storage = storage
        self._lineage = lineage
        self._clock = clock or SystemClock()
        self._leases = leases
        self._wanted = asyncio.Event()
        self._ended = asyncio.Event()
        """Set when some deletion has ended; the next one has another."""
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._current: str | None = None
        self._step = "waiting"
        self._removed = 0
        self._trouble: str | None = None

    def start(self) -> None:
        """Begin; what an earlier server did not finish is done first."""
        self._wanted.set()
        self._task = asyncio.create_task(self._run(), name="execution-deleter")

    def look(self) -> None:
        """Have those who wait for a deletion look again: another server may have ended it."""
        self._wake_waiting()

    async def close(self) -> None:
        """Stop; what is left to delete stands in its rows."""
        self._closed = True
        self._wake_waiting()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)

    async def request(self, request: DeletionRequest, *, dry_run: bool = False) -> list[Choice]:
        """Enter what a request names or matches, newest first, since a replay is newer than what it holds.

        What cannot go is in the list with its reason. With `dry_run` nothing is entered. Raises
        `ExecutionNotFoundError`.
        """
        named = [(await self._executions.get(name)).execution_id for name in request.execution_ids]
        matching: list[str] = []
        if request.matches_some:
            before = None
            if request.older_than is not None:
                before = self._clock.now() - request.older_than
            statuses = request.statuses or FINAL
            matching = await self._deletions.candidates(
                request.kind, statuses, before, request.limit
            )
        ids = dict.fromkeys([*named, *matching])
        rows = [await self._executions.get(execution_id) for execution_id in ids]
        rows.sort(key=lambda row: (row.started_at, row.execution_id), reverse=True)
        going: set[str] = set()
        choices = [
            await self._choose(row, request.kind, row.execution_id in named, going, dry_run)
            for row in rows
        ]
        self._wanted.set()
        return choices

    async def progress(self, id_or_tag: str, wait: float = 0.0) -> Progress:
        """Return how far a deletion is, once it is finished or `wait` seconds have passed.

        Raises `ExecutionNotFoundError`, and `ExecutionStateError` when it is not deleted at all.
        """
        execution_id = (await self._executions.get(id_or_tag)).execution_id
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            ended = self._ended
            found = await self._found(execution_id)
            left = until - loop.time()
            if found.deleted_at is not None or left <= 0 or self._closed:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), left)
        if found.deleted_at is not None:
            return Progress(found, "done", found.objects, None)
        if execution_id != self._current:
            return Progress(found, "waiting", 0, self._trouble)
        return Progress(found, self._step, self._removed, self._trouble)

    async def _found(self, execution_id: str) -> Deletion:
        found = (await self._deletions.find([execution_id])).get(execution_id)
        if found is None:
            raise ExecutionStateError(
                f"execution {execution_id} is not deleted",
                hint=f"factflow execution delete {execution_id}",
            )
        return found

    async def _choose(
        self, row: ExecutionSummary, kind: DeletionKind, named: bool, going: set[str], dry_run: bool
    ) -> Choice:
        try:
            if not dry_run:
                return Choice(row, named, await self._deletions.enter(row.execution_id, kind))
            known = (await self._deletions.find([row.execution_id])).get(row.execution_id)
            if known is None or (kind, known.kind) == ("all", "artefacts"):
                await self._deletions.check_free(row.execution_id, going)
                known = None
        except FactflowError as error:
            return Choice(row, named, refused=error)
        if kind == "all":
            going.add(row.execution_id)
        return Choice(row, named, known)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._leases is None else LOOK_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                complete = await self._delete_all()
            except DATABASE_TROUBLE as error:
                _log.warning("deleting waits for the database", reason=reason_of(error))
                complete = False
            if not complete:
                await asyncio.sleep(RETRY_SECONDS)
                self._wanted.set()

    async def _delete_all(self) -> bool:
        """Delete what can be deleted now; False when trouble kept something from going."""
        complete = True
        for deletion in await self._deletions.unfinished():
            self._current = deletion.execution_id
            try:
                complete &= await self._delete_alone(deletion)
                self._trouble = None
            except (StorageUnavailableError, LineageUnavailableError) as error:
                self._trouble = error.message
                complete = False
                _log.warning(
                    "not deleted yet", execution_id=deletion.execution_id, reason=error.message
                )
            finally:
                self._current = None
            self._wake_waiting()
        return complete

    async def _delete_alone(self, deletion: Deletion) -> bool:
        """Delete it; False when another server does, whose end is to be waited for."""
        if self._leases is None:
            await self._delete(deletion)
            return True
        if not await self._leases.take(deletion.execution_id):
            return False
        try:
            await self._delete(deletion)
        finally:
            await self._leases.give_back(deletion.execution_id)
        return True

    async def _delete(self, deletion: Deletion) -> None:
        execution_id = deletion.execution_id
        prefix = keys.execution_prefix(execution_id)
        self._removed, self._step = 0, "counting"
        if deletion.counted_at is None:
            before = await self._usage(prefix)
            await self._deletions.note_count(deletion, before.objects, before.disk_bytes)
        self._step = "objects"
        artefacts_only = deletion.kind == "artefacts"
        await self._storage.delete_prefix(prefix, artefacts_only=artefacts_only, tell=self._tell)
        kept = await self._usage(prefix) if artefacts_only else StorageUsage()
        rows = 0
        if not artefacts_only:
            self._step = "lineage"
            rows = await self._lineage.delete_execution(execution_id)
        await self._deletions.finish(
            deletion,
            kept_objects=kept.objects,
            kept_bytes=kept.disk_bytes,
            lineage_rows=rows,
        )
        _log.info("deleted", execution_id=execution_id, kind=deletion.kind, lineage_rows=rows)

    async def _usage(self, prefix: str) -> StorageUsage:
        whole = StorageUsage()
        async for sums in self._storage.usage(prefix):
            whole = sums
        return whole

    def _wake_waiting(self) -> None:
        self._ended.set()
        self._ended = asyncio.Event()

    def _tell(self, removed: int) -> None:
        self._removed += removed
