"""Every execution that was cut off goes on by itself, oldest first: at start-up, and where several servers
share executions also when one of them dies.

A queue that survived *is* the frontier: its messages are handed out as repeats, and the publisher goes on
behind the last item it announced. When the queue is lost, or cannot be trusted since the machine went
down, the records are the frontier: the init message or the plan is published once more into new queues,
as repeats, and each message follows the records that stand, without running a stage that has one, until
it comes to what is still to be done. Recovery re-enqueues; it never runs an adapter itself.
"""

from __future__ import annotations

import asyncio
import contextlib

from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.execution_service import ExecutionService
from factflow_execution.lease_keeper import LeaseKeeper
from factflow_execution.left_queues import LeftQueues
from factflow_execution.models import PipelineExecution
from factflow_foundation import keys, logs
from factflow_protocols.errors import FactflowError, QueueUnavailableError, StorageUnavailableError
from factflow_protocols.storage import StorageProtocol
from factflow_replay.replay.plan import PlanSource

RETRY_SECONDS = 5.0
LOOKS_PER_LEASE = 3
"""How often, within the time that a lease lasts, somebody looks for one that ran out."""
CLOSE_SECONDS = 5.0
"""How long closing waits for what is under way: a server that stops must end."""

_log = logs.logger(__name__)


class RecoveryManager:
    """A background task that never delays the server's readiness and keeps to its limit of executions."""

    def __init__(
        self, executions: ExecutionService, storage: StorageProtocol, left_queues: LeftQueues
    ) -> None:
        self._executions = executions
        self._storage = storage
        self._left_queues = left_queues
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.put_off: dict[str, str] = {}
        """Executions that are tried again in a while, and what keeps them from going on."""

    def look(self) -> None:
        """Look at once for what no server has."""
        self._look.set()

    def start(self) -> None:
        """Begin to take executions up."""
        self._task = asyncio.create_task(self._run(), name="recovery")

    async def close(self) -> None:
        """Stop; what was not taken up yet stays interrupted, for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        for execution_id in list(self._executions.ends.awaiting_recovery):
            self._executions.recovery_is_over(execution_id)  # who waits must not do so any longer

    async def _run(self) -> None:
        if self._executions.leases is None:
            await self._take_up_what_was_cut_off()
        else:
            await self._take_over(self._executions.leases)

    async def _take_over(self, leases: LeaseKeeper) -> None:
        """Go on, for as long as this server is there, with executions that no server has (any more)."""
        await self._forget_queues()
        refused: set[str] = set()
        while True:
            try:
                for execution_id in await leases.left():
                    if execution_id in refused or execution_id in self._executions.here():
                        continue
                    execution = await self._executions.get(execution_id)
                    if not await self._taken_up(execution):
                        continue
                    self._executions.recovery_is_over(execution_id)
                    if (await self._executions.get(execution_id)).status == "interrupted":
                        refused.add(execution_id)  # its row says why this server cannot
            except DATABASE_TROUBLE as error:
                _log.warning("recovery waits for the database", reason=reason_of(error))
            self._look.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(leases.seconds / LOOKS_PER_LEASE):
                    await self._look.wait()

    async def _forget_queues(self) -> None:
        try:
            await self._left_queues.forget()
        except (*DATABASE_TROUBLE, QueueUnavailableError) as error:
            _log.warning("queues left behind stay for now", reason=str(error))

    async def _take_up_what_was_cut_off(self) -> None:
        """Try each once, oldest first; again only those that trouble of ours kept from going on. Then let go
        of what servers before left of executions that had ended."""
        tried: set[str] = set()
        while True:
            try:
                found = await self._executions.interrupted()
                left = [one for one in found if one.execution_id not in tried]
                for execution in left:
                    if await self._taken_up(execution):
                        tried.add(execution.execution_id)
                        self._executions.recovery_is_over(execution.execution_id)
                if all(one.execution_id in tried for one in left):
                    await self._left_queues.forget()
                    return
            except DATABASE_TROUBLE as error:
                _log.warning("recovery waits for the database", reason=reason_of(error))
            except QueueUnavailableError as error:
                _log.warning("queues left behind stay for now", reason=error.message)
            await asyncio.sleep(RETRY_SECONDS)

    async def _taken_up(self, execution: PipelineExecution) -> bool:
        """Try one; False when storage or queue do not answer, which is waited out."""
        execution_id = execution.execution_id
        try:
            await self._recover(execution)
        except (StorageUnavailableError, QueueUnavailableError) as error:
            _log.warning("recovery waits", execution_id=execution_id, reason=error.message)
            self.put_off[execution_id] = error.message
            return False
        except DATABASE_TROUBLE:
            raise
        except FactflowError as error:
            # The execution's row has the reason; the others must not wait for it.
            _log.warning(
                "execution stays interrupted", execution_id=execution_id, reason=error.message
            )
        except Exception as error:  # noqa: BLE001 - one that cannot be recovered must not stop the others
            _log.error("execution stays interrupted", execution_id=execution_id, exc_info=error)
        self.put_off.pop(execution_id, None)
        return True

    async def _recover(self, execution: PipelineExecution) -> None:
        execution_id = execution.execution_id
        if execution.cancel_requested:
            await self._executions.give_up(execution_id, "cancelled")
            return
        plan = PlanSource(self._storage, execution_id)
        begun = await self._storage.exists(f"{keys.init_key(execution_id)}.json")
        planned = await plan.exists()
        if not planned and not begun:
            reason = "neither its init payload nor a plan is in storage: it cannot be recovered"
            await self._executions.give_up(execution_id, "failed", reason)
            return
        await self._executions.resume(execution_id, plan if planned else None)
        _log.info("execution goes on", execution_id=execution_id)
