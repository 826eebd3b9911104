"""One execution: sets its routes to work, publishes what starts it, and says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from factflow_engine.execution_routes import ExecutionRoutes
from factflow_engine.execution_spec import (
    ExecutionSpec,
    FinalState,
    FinalStatus,
    StopRequest,
    messages_only,
)
from factflow_engine.holding import Holder
from factflow_engine.publisher import Publisher
from factflow_engine.registry import AdapterRegistry
from factflow_engine.route_context import EngineServices
from factflow_foundation import logs
from factflow_protocols.errors import FactflowError
from factflow_protocols.queue import Progress

LINEAGE_PATIENCE = 2.0
"""Seconds that closing an execution waits for its last lineage rows."""

log = logs.logger(__name__)


class PipelineOrchestrator:
    """Runs one execution from `start` to its final state, which `stop` brings about early.

    Starting an execution whose queues stand already goes on where they are: what was announced is not
    announced again, what was settled is not run again.
    """

    def __init__(
        self,
        spec: ExecutionSpec,
        services: EngineServices,
        registry: AdapterRegistry,
        stop: StopRequest,
        *,
        environ: Mapping[str, str],
        allow_private_networks: bool,
    ) -> None:
        self.spec = spec
        self._services = services
        self.routes = ExecutionRoutes(
            spec,
            services,
            registry,
            self._on_fault,
            environ=environ,
            allow_private_networks=allow_private_networks,
        )
        self._scope = self.routes.scope
        self._publisher = Publisher(spec, self.routes.graph, self._scope, services)
        self._publishing: asyncio.Task[None] | None = None
        self._holder = Holder(f"{spec.execution_id}/end")
        self._stop = stop
        self._fault: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def start(self) -> bool:
        """Open adapters, subscribe every route, begin to publish.

        False when it was asked to stop before its adapters were open. Raises what building or opening an
        adapter raises. In both cases nothing is left open.
        """
        if not await self.routes.open(self._stop):
            return False
        try:
            await self._services.queue.open(self._scope, publisher=True)
        except BaseException:
            await self.routes.close()
            raise
        self.routes.start()
        self._publishing = asyncio.create_task(
            self._publish(), name=f"{self.spec.execution_id}/publisher"
        )
        return True

    @property
    def published(self) -> int:
        """Return how many of the items that start the execution have been announced."""
        return self._publisher.published

    def holding(self) -> dict[str, str]:
        """Return why routes hold, by route; empty when none does.

        Under `_publisher` and `_end` stands why publishing, and letting go of the queues, have to wait.
        """
        reasons = self.routes.holding()
        for name, holder in (("_publisher", self._publisher.holder), ("_end", self._holder)):
            if holder.reason is not None:
                reasons[name] = holder.reason
        return reasons

    async def run(self, on_final: Callable[[FinalState], Awaitable[bool]]) -> None:
        """Wait for the end, bring everything to rest, report, and let go of the queues.

        `on_final` tells whether the end is this server's to say; if not, the queues are another one's.
        """
        drained = asyncio.create_task(
            self._services.queue.wait_drained(self._scope), name="drained"
        )
        waiting: list[asyncio.Future[Any]] = [drained, self._fault, self._stop]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        error: str | None = None
        if drained.done() and not self._fault.done():
            status, grace = self._settled_status(await drained), 0.0
        elif self._fault.done():
            status, grace, error = "failed", 0.0, _describe(self._fault.result())
        else:
            status, grace = self._stop.result()
        drained.cancel()
        missing = await self._all_rest(status, grace)
        gap = max(await self._flush_lineage(), missing)
        progress = messages_only(await self._services.queue.progress(self._scope))
        final = FinalState(status, progress, gap, self._warning(progress), error)
        if status == "interrupted":
            # Whoever goes on with it finds queues that were left in order.
            await self._services.queue.leave(self._scope)
        is_ours = await on_final(final)
        if gap:
            self._services.lineage.gap_noted.set()
        if status != "interrupted" and is_ours:
            await self._holder.until_done(self._services.queue.delete, self._scope)
        elif status != "interrupted":
            await self._services.queue.leave(self._scope)

    def _settled_status(self, progress: Progress) -> FinalStatus:
        bearable = self._tolerance() * messages_only(progress).announced
        return "failed" if progress.failed > bearable else "completed"

    def _tolerance(self) -> float:
        settings = self.spec.config.error_handling
        return settings.failure_tolerance if settings else 0.0

    def _warning(self, progress: Progress) -> str | None:
        if progress.announced or self._fault.done() or self._stop.done():
            return None
        if self.spec.source is not None:
            return "there was nothing to replay"
        if self.spec.skip_init:
            return "started without its init message: there was nothing to do"
        return "the pipeline has no init_message: there was nothing to do"

    async def _publish(self) -> None:
        try:
            await self._publisher.run()
        except Exception as error:  # noqa: BLE001 - whatever it is ends the execution, loudly
            self._on_fault(error)

    async def _rest(self, grace_seconds: float) -> None:
        if self._publishing is not None:
            self._publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._publishing
        await self.routes.rest(grace_seconds)

    async def _all_rest(self, status: FinalStatus, grace_seconds: float) -> int:
        """Bring routes to rest, here and elsewhere; return how many lineage rows others are known to lack.

        Others go on with an execution that is only interrupted here.
        """
        if status == "interrupted":
            await self._rest(grace_seconds)
            return 0
        others = self._services.others.rest(self._scope, grace_seconds)
        _, missing = await asyncio.gather(self._rest(grace_seconds), others)
        return missing

    async def _flush_lineage(self) -> int:
        """Return how many rows are known to be missing; after a cut at least one may be."""
        lineage = self._services.lineage
        await lineage.flush(self.spec.execution_id, timeout=LINEAGE_PATIENCE)
        known = lineage.gaps().get(self.spec.execution_id, 0)
        return max(known, 1) if self.spec.resumed else known

    def _on_fault(self, error: BaseException) -> None:
        log.error("execution fault", execution_id=self.spec.execution_id, error=repr(error))
        if not self._fault.done():
            self._fault.set_result(error)


def _describe(error: BaseException) -> str:
    if isinstance(error, FactflowError):
        return error.message
    return f"{type(error).__name__} within the engine; the server's log has the details"
