"""Brings workers to rest when an execution ends, and keeps account of those that are gone."""

from __future__ import annotations

import asyncio
import contextlib

from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.lease_keeper import LeaseKeeper
from factflow_execution.workers import SILENT_SECONDS, Workers
from factflow_foundation import logs
from factflow_foundation.notifications import Notifications
from factflow_lineage.writer import LineageService
from factflow_protocols.queue import QueueScope

PATIENCE_SECONDS = 2.0
"""How long the end of an execution waits, beyond the grace period, for rows that workers still have."""
AGAIN_SECONDS = 0.25
"""How long an answer is waited for before the question is asked once more."""

log = logs.logger(__name__)


class OthersAtWork:
    """Fulfils `factflow_engine.other_workers.OtherWorkers` with what workers note in the database."""

    def __init__(
        self,
        workers: Workers,
        repository: ExecutionRepository,
        lineage: LineageService,
        notifications: Notifications,
        leases: LeaseKeeper,
    ) -> None:
        self.workers = workers
        self._repository = repository
        self._lineage = lineage
        self._notifications = notifications
        self._leases = leases
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for workers that are gone."""
        self._task = asyncio.create_task(self._look_after(), name="workers gone")

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def rest(self, scope: QueueScope, grace_seconds: float) -> int:
        """Have all workers rest; what nobody can say, the database away for one, counts as a row missing."""
        execution_id = scope.execution_id
        try:
            if not await self._leases.is_held(execution_id):
                return 0  # another server has it, and the workers with it
            if await self._are_at_work(execution_id):
                await self._ask(execution_id, grace_seconds)
            missing = await self.workers.forget_shares(execution_id)
            row = await self._repository.get(execution_id)
        except DATABASE_TROUBLE as error:
            log.warning("workers cannot be asked to rest", reason=reason_of(error))
            self._notifications.tell("rest", f"{execution_id} {grace_seconds:g}")
            return 1
        return max(missing, row.lineage_gap if row is not None else 0)

    # -- inside

    async def _ask(self, execution_id: str, grace_seconds: float) -> None:
        rested = asyncio.Event()

        def told(subject: str | None) -> None:
            if subject in {None, execution_id}:
                rested.set()

        with contextlib.ExitStack() as stack:
            stack.callback(self._notifications.listen("rested", told))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds + PATIENCE_SECONDS):
                    while await self._are_at_work(execution_id):
                        rested.clear()
                        self._notifications.tell("rest", f"{execution_id} {grace_seconds:g}")
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(AGAIN_SECONDS):
                                await rested.wait()

    async def _are_at_work(self, execution_id: str) -> bool:
        shares = await self.workers.shares(execution_id)
        return any(share.state == "working" for share in shares)

    async def _look_after(self) -> None:
        while True:
            try:
                if await self.workers.forget_gone():
                    self._lineage.gap_noted.set()
            except DATABASE_TROUBLE as error:
                log.warning("workers cannot be looked after", reason=reason_of(error))
            await asyncio.sleep(SILENT_SECONDS)
