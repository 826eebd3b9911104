"""How the server's parts are. Every part is asked, each for a short time only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_engine.manager import OrchestratorManager
from factflow_execution.execution_service import ExecutionService
from factflow_execution.lineage_filler import LineageFiller
from factflow_foundation import keys
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.writer import LineageService
from factflow_protocols.errors import FactflowError
from factflow_protocols.queue import QueueProtocol, QueueScope
from factflow_protocols.storage import StorageProtocol
from factflow_server.api.schemas.system import HealthStatus

PATIENCE_SECONDS = 2.0
SHOWN_REASONS = 5
_ORDER: Sequence[HealthStatus] = ("healthy", "degraded", "unhealthy")


@dataclass(frozen=True, slots=True)
class Component:
    """How one part is; `message` is for a person."""

    name: str
    status: HealthStatus
    message: str


def overall(components: Sequence[Component]) -> HealthStatus:
    """Return the worst status of all components."""
    return max((component.status for component in components), key=_ORDER.index, default="healthy")


class HealthService:
    """Asks database, storage, queue, lineage and executions how they are."""

    def __init__(
        self,
        *,
        database: AsyncEngine,
        storage: StorageProtocol,
        queue: QueueProtocol,
        lineage: LineageService,
        lineage_repository: PipelineLineageRepository,
        manager: OrchestratorManager,
        executions: ExecutionService,
        lineage_filler: LineageFiller,
        max_concurrent_executions: int,
    ) -> None:
        self._database = database
        self._storage = storage
        self._queue = queue
        self._lineage = lineage
        self._lineage_repository = lineage_repository
        self._manager = manager
        self._executions = executions
        self._lineage_filler = lineage_filler
        self._max = max_concurrent_executions

    async def check(self) -> list[Component]:
        """Return every component; never raises."""
        asked = await asyncio.gather(
            self._database_component(),
            _ask("queue", self._ask_queue),
            _ask("storage", self._ask_storage),
            self._lineage_component(),
        )
        return [*asked, self._orchestrator_component()]

    async def _database_component(self) -> Component:
        """Ask for reading, and look at what waits to be written."""
        read = await _ask("database", self._ask_database)
        waiting = dict(self._executions.late_ends.unwritten)
        if read.status != "healthy" or not waiting:
            return read
        execution_id, reason = next(iter(waiting.items()))
        return Component(
            "database",
            "degraded",
            f"the final status of {len(waiting)} executions waits to be written: "
            f"{execution_id}: {reason}",
        )

    async def _ask_database(self) -> None:
        async with self._database.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def _ask_queue(self) -> None:
        await self._queue.progress(QueueScope("health"))

    async def _ask_lineage(self) -> None:
        await self._lineage_repository.counts("health")

    async def _ask_storage(self) -> None:
        await self._storage.exists(f"{keys.ROOT}/health")

    async def _lineage_component(self) -> Component:
        """Ask for reading, and look at what waits to be written; work goes on without either."""
        read = await _ask("lineage", self._ask_lineage)
        health = self._lineage.health()
        message = f"{health.backlog} rows wait to be written"
        if not health.ok:
            why = f": {health.last_error}" if health.last_error else ""
            message += f", {health.dropped} were dropped{why}"
        if read.status != "healthy":
            message += f"; {read.message}"
        to_fill = self._lineage_filler.remaining
        if to_fill:
            message += f"; rows of {to_fill} executions are made again from records"
        ok = health.ok and read.status == "healthy" and not to_fill
        return Component("lineage", "healthy" if ok else "degraded", message)

    def _orchestrator_component(self) -> Component:
        running = len(self._manager.running())
        message = f"{running} of at most {self._max} executions are running"
        held = [
            f"{execution_id}/{route_id}: {reason}"
            for execution_id, routes in self._manager.holding().items()
            for route_id, reason in routes.items()
        ]
        if held:
            shown = "; ".join(held[:SHOWN_REASONS])
            message += f"; {len(held)} routes hold until trouble is over: {shown}"
        return Component("orchestrator", "degraded" if held else "healthy", message)


async def _ask(name: str, question: Callable[[], Awaitable[None]]) -> Component:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await question()
    except TimeoutError:
        return Component(name, "unhealthy", f"no answer within {PATIENCE_SECONDS:g} s")
    except FactflowError as error:
        return Component(name, "unhealthy", error.message)
    except SQLAlchemyError as error:
        return Component(name, "unhealthy", f"the database does not answer: {type(error).__name__}")
    return Component(name, "healthy", "answers")
