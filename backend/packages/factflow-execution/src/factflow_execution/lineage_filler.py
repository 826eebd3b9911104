"""Fills the gaps that trouble with the lineage database left, from outcome records, behind the work.

Where several servers share executions, one of them at a time fills one, by its lease.
"""

from __future__ import annotations

import asyncio
import contextlib

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.lineage_rows import rebuild_rows
from factflow_engine.manager import OrchestratorManager
from factflow_engine.outcome_store import OutcomeStore
from factflow_execution.execution_deletions import ExecutionDeletions
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.lease_keeper import LeaseKeeper
from factflow_execution.snapshot import snapshot_config
from factflow_foundation import logs
from factflow_lineage.writer import LineageService

RETRY_SECONDS = 5.0
CLOSE_SECONDS = 5.0
"""How long closing waits for what is under way: a server that stops must end."""
FLUSH_SECONDS = 60.0
LOOK_SECONDS = 60.0
"""How often gaps are looked for that another server noted, and may not have come to fill."""

_log = logs.logger(__name__)


class LineageFiller:
    """One background task: sleeps until an execution that ended is known to lack rows."""

    def __init__(
        self,
        *,
        repository: ExecutionRepository,
        lineage: LineageService,
        store: OutcomeStore,
        manager: OrchestratorManager,
        deletions: ExecutionDeletions,
        leases: LeaseKeeper | None = None,
    ) -> None:
        self._repository = repository
        self._lineage = lineage
        self._store = store
        self._manager = manager
        self._deletions = deletions
        self._leases = leases
        self._task: asyncio.Task[None] | None = None
        self.remaining = 0
        """How many executions wait for their rows to be made again."""

    def start(self) -> None:
        """Begin; gaps noted before, by this server or the one before it, are filled first."""
        self._lineage.gap_noted.set()
        self._task = asyncio.create_task(self._run(), name="lineage-filler")

    async def close(self) -> None:
        """Stop; what is left to fill stands in the executions' rows."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)

    async def fill(self, execution_id: str) -> bool:
        """Make an execution's rows again from its records; tell whether all of them are written."""
        execution = await self._repository.get(execution_id)
        self._lineage.take_gap(execution_id)
        if execution is None:
            return True
        if await self._deletions.is_going(execution_id):
            return await self._let_go(execution_id)
        graph = PipelineGraph(snapshot_config(execution.config_snapshot))
        rebuilt = await rebuild_rows(execution_id, graph, self._store, self._lineage)
        filled = await self._lineage.flush(execution_id, timeout=FLUSH_SECONDS)
        if await self._deletions.is_going(execution_id):
            return await self._let_go(execution_id)
        await self._repository.update(execution_id, lineage_gap=0 if filled else rebuilt.rows)
        _log.info("lineage rebuilt", execution_id=execution_id, rows=rebuilt.rows, complete=filled)
        if rebuilt.damaged:
            # Asking again would find the same; rows that lineage has of them stand.
            _log.warning(
                "records cannot be read",
                execution_id=execution_id,
                count=len(rebuilt.damaged),
                first=rebuilt.damaged[0],
            )
        return filled

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._leases is None else LOOK_SECONDS):
                    await self._lineage.gap_noted.wait()
            self._lineage.gap_noted.clear()
            try:
                complete = await self._fill_all()
            except Exception as error:  # noqa: BLE001 - whatever it is, filling is tried again later
                _log.warning("lineage gaps not filled yet", error=str(error))
                complete = False
            if not complete:
                await asyncio.sleep(RETRY_SECONDS)
                self._lineage.gap_noted.set()

    async def _fill_all(self) -> bool:
        """Fill what can be filled now; False when something is left that will not announce itself."""
        if self._lineage.lost:
            await self._repository.note_lineage_loss()
            self._lineage.lost = False
        noted = await self._repository.with_lineage_gap()
        # One that still runs notes its gap when it ends.
        known = [key for key in self._lineage.gaps() if not self._manager.is_running(key)]
        to_fill = list(dict.fromkeys([*noted, *known]))
        complete = True
        for number, execution_id in enumerate(to_fill):
            self.remaining = len(to_fill) - number
            try:
                complete &= await self._fill_alone(execution_id)
            except Exception as error:  # noqa: BLE001 - the others must not wait for it
                _log.warning(
                    "lineage gap not filled yet", execution_id=execution_id, error=str(error)
                )
                complete = False
        if complete:
            self.remaining = 0
        return complete

    async def _fill_alone(self, execution_id: str) -> bool:
        """Fill it unless another server does, or runs it still."""
        if self._leases is None:
            return await self.fill(execution_id)
        if not await self._leases.take(execution_id):
            return False
        try:
            return await self.fill(execution_id)
        finally:
            await self._leases.give_back(execution_id)

    async def _let_go(self, execution_id: str) -> bool:
        """Leave no row of an execution that is deleted, and may have been while its rows were made."""
        await self._lineage.delete_execution(execution_id)
        await self._repository.update(execution_id, lineage_gap=0)
        return True
