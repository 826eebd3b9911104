"""How executions end: what is written of it, and whose it is to write.

Nothing else sets a final status, and all of it is written under the lease that this server has.
"""

from __future__ import annotations

from typing import Any

from factflow_engine.execution_spec import FinalState
from factflow_execution.errors import ExecutionNotFoundError, OwnedElsewhereError
from factflow_execution.execution_events import ending
from factflow_execution.execution_holds import ExecutionHolds
from factflow_execution.execution_leases import Lease, LeaseLostError
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.late_ends import LateEnds
from factflow_execution.lease_keeper import LeaseKeeper
from factflow_execution.models import ExecutionStatus, PipelineExecution
from factflow_execution.waiter import ExecutionWaiter
from factflow_foundation import logs
from factflow_foundation.clock import Clock

_log = logs.logger(__name__)


class ExecutionEnds:
    """Writes ends and wakes who waits for them. Without `leases` every execution is this server's."""

    def __init__(
        self,
        repository: ExecutionRepository,
        holds: ExecutionHolds,
        clock: Clock,
        leases: LeaseKeeper | None,
    ) -> None:
        self.leases = leases
        self.late = LateEnds()
        self.awaiting_recovery: set[str] = set()
        """Interrupted executions that this process is still to take up, or to give up."""
        self.waiter = ExecutionWaiter(self.get, lambda wanted: wanted in self.awaiting_recovery)
        self._repository = repository
        self._holds = holds
        self._clock = clock

    async def get(self, id_or_tag: str) -> PipelineExecution:
        """Return the execution with this id or tag. Raises `ExecutionNotFoundError`."""
        execution = await self._repository.get(id_or_tag)
        if execution is None:
            raise ExecutionNotFoundError(id_or_tag)
        return execution

    async def finished(self, execution_id: str, final: FinalState) -> bool:
        """Write how an execution ended, and wake who waits for it; False when that is not for this server
        to say any more: another one has it.

        One that only this server stops running is left to the others, where there can be any. A database
        that cannot write now is asked again until it can, or until the server closes, when what it says is
        raised: the next server will find the execution without an owner.
        """

        if self.leases is not None and final.status == "interrupted":
            await self.leases.give_back(execution_id)
            return False

        async def write() -> None:
            await self.end(
                execution_id,
                final.status,
                message_count=final.progress.announced,
                failed_count=final.progress.failed,
                lineage_gap=final.lineage_gap,
                warning=final.warning,
                error_info=None if final.error is None else {"message": final.error},
            )

        try:
            await self.late.insist(execution_id, write)
        except LeaseLostError as error:
            _log.warning("end is left to another server", reason=error.message)
            return False
        if self.leases is not None:
            await self.leases.give_back(execution_id)
        return True

    async def take_lease(self, execution_id: str) -> None:
        """Make the execution this server's. Raises `OwnedElsewhereError`."""
        if self.leases is not None and not await self.leases.take(execution_id):
            raise OwnedElsewhereError(execution_id)

    async def give_lease_back(self, execution_id: str) -> None:
        """Let another server have it, where there can be one."""
        if self.leases is not None:
            await self.leases.give_back(execution_id)

    def lease(self, execution_id: str) -> Lease | None:
        """Return what makes the execution this server's, None where there can be no other."""
        return None if self.leases is None else self.leases.held(execution_id)

    async def end(
        self, execution_id: str, status: ExecutionStatus, **values: Any
    ) -> PipelineExecution:
        """Set a status that ends it, if the present one allows that; return it as it is then.

        Raises `LeaseLostError`.
        """
        now = self._clock.now()
        event = ending(status, now, values)
        lease = self.lease(execution_id)
        moved = await self._repository.move(
            execution_id, status, event, lease=lease, completed_at=now, **values
        )
        execution = await self.get(execution_id)
        if not moved:
            _log.info(
                "status left as it is",
                execution_id=execution_id,
                status=execution.status,
                refused=status,
            )
        if execution.status == "completed" and execution.source == "replay":
            await self._holds.release(execution_id)
        if execution.ended:
            self.waiter.resolve(execution)
        return execution
