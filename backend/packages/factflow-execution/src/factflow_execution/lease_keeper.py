"""The leases that this server holds: taken before an execution runs here, renewed while it does, and given
back when it does not.

A server alone on its database has no keeper: nobody could take anything over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.execution_leases import ExecutionLeases, Lease
from factflow_foundation import logs
from factflow_foundation.crash_points import reach
from factflow_foundation.notifications import Notifications

RENEWALS = 3
"""How often a lease is renewed within the time that it lasts."""

log = logs.logger(__name__)


class LeaseKeeper:
    """Renews from `start` to `close`. `on_lost` is told of each execution that another server has taken over;
    `seconds` is how long a lease lasts."""

    def __init__(
        self,
        leases: ExecutionLeases,
        seconds: float,
        notifications: Notifications,
    ) -> None:
        self.seconds = seconds
        self.on_lost: Callable[[str], None] = lambda _: None
        self._leases = leases
        self._notifications = notifications
        self._held: dict[str, Lease] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to renew."""
        self._task = asyncio.create_task(self._renew(), name="leases")

    async def close(self) -> None:
        """Renew no more. What is still held runs out by itself."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def held(self, execution_id: str) -> Lease | None:
        """Return the lease of an execution that runs here, as far as this server knows."""
        return self._held.get(execution_id)

    async def take(self, execution_id: str) -> bool:
        """Make an execution this server's; False while another one has it."""
        reach("lease.take.before")
        lease = await self._leases.take(execution_id)
        reach("lease.take.after")
        if lease is None:
            return False
        self._held[execution_id] = lease
        return True

    async def give_back(self, execution_id: str) -> None:
        """Let another server have an execution at once; the others are told to look. Database trouble is
        none of the caller's: then the lease runs out."""
        lease = self._held.pop(execution_id, None)
        if lease is None:
            return
        try:
            await self._leases.release(lease)
        except DATABASE_TROUBLE as error:
            log.warning(
                "lease is left to run out", execution_id=execution_id, reason=reason_of(error)
            )
        self._notifications.tell("execution", execution_id)

    async def owner_of(self, execution_id: str) -> str | None:
        """Return which server has an execution; None when none has."""
        return await self._leases.owner_of(execution_id)

    async def left(self) -> list[str]:
        """Return executions that have not ended and that no server has, the oldest first."""
        return await self._leases.left()

    async def is_held(self, execution_id: str) -> bool:
        """Ask the database whether an execution is still this server's."""
        lease = self._held.get(execution_id)
        if lease is None:
            return False
        lost = await self._leases.renew([lease])
        self._forget(lost)
        return not lost

    # -- inside

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.seconds / RENEWALS)
            if not self._held:
                continue
            try:
                self._forget(await self._leases.renew(list(self._held.values())))
            except DATABASE_TROUBLE as error:
                # Nobody else can take anything over meanwhile, unless only this server is cut off.
                log.warning("leases cannot be renewed", reason=reason_of(error))

    def _forget(self, lost: Iterable[Lease]) -> None:
        for lease in lost:
            if self._held.get(lease.execution_id) == lease:
                del self._held[lease.execution_id]
                log.error("another server has taken it over", execution_id=lease.execution_id)
                self.on_lost(lease.execution_id)
