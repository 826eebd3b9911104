"""One execution: builds its routes, publishes what starts it, and says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from factflow_engine.backpressure import Backpressure
from factflow_engine.circuit_breaker import CircuitBreaker
from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import (
    ExecutionSpec,
    FinalState,
    FinalStatus,
    RouteRuntime,
    StopRequest,
    messages_only,
)
from factflow_engine.holding import Holder
from factflow_engine.publisher import Publisher
from factflow_engine.recent import RecentArtefacts
from factflow_engine.registry import AdapterRegistry
from factflow_engine.route_context import EngineServices, RouteContext
from factflow_engine.route_processor import ABANDON_SECONDS, ReactiveRouteProcessor
from factflow_engine.stage import Stage
from factflow_foundation import logs
from factflow_protocols.errors import FactflowError
from factflow_protocols.pipeline import AdapterEnvironment
from factflow_protocols.queue import Progress, QueueScope

LINEAGE_PATIENCE = 2.0
"""Seconds that closing an execution waits for its last lineage rows."""
CLOSE_SECONDS = 5.0
"""Seconds an adapter may take to close."""

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
        self._registry = registry
        self._environ = environ
        self._allow_private_networks = allow_private_networks
        self._graph = PipelineGraph(spec.config)
        self._scope = QueueScope(spec.execution_id, spec.generation)
        self._stages: list[tuple[str, Stage]] = []
        self._processors: dict[str, ReactiveRouteProcessor] = {}
        pressure = Backpressure(self._graph, services.queue, self._scope, self._adjust)
        self._backpressure = pressure if pressure.bounds_anything else None
        self._publisher = Publisher(spec, self._graph, self._scope, services)
        self._publishing: asyncio.Task[None] | None = None
        self._holder = Holder(f"{spec.execution_id}/end")
        self._stop = stop
        self._fault: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def start(self) -> bool:
        """Open adapters, subscribe every route, begin to publish.

        False when it was asked to stop before its adapters were open. Raises what building or opening an
        adapter raises. In both cases nothing is left open.
        """
        opened = False
        try:
            self._build()
            opened = await self._open_adapters()
            if opened:
                await self._services.queue.open(self._scope, publisher=True)
        except BaseException:
            await self._close_adapters()
            raise
        if not opened:
            await self._close_adapters()
            return False
        if self._backpressure is not None:
            self._backpressure.look()  # queues that were there before may be full
        for route_id, processor in self._processors.items():
            queue = self._graph.route(route_id).inbound.queue
            processor.start(queue, paused=route_id in self._services.paused_routes)
        self._publishing = asyncio.create_task(
            self._publish(), name=f"{self.spec.execution_id}/publisher"
        )
        return True

    def pause(self, route_id: str) -> None:
        """Have a route take no more messages; a name that no route has changes nothing."""
        if route_id in self._processors:
            self._processors[route_id].pause()

    def resume(self, route_id: str) -> None:
        """Have a route take messages again; a name that no route has changes nothing."""
        if route_id in self._processors:
            self._processors[route_id].resume()

    def runtime(self) -> list[RouteRuntime]:
        """Return each route as it stands, in the order the YAML has them."""
        depths = self._services.queue.depths(self._scope)
        result = []
        for route_id, processor in self._processors.items():
            route = self._graph.route(route_id)
            depth = depths.get(route.inbound.queue)
            result.append(
                RouteRuntime(
                    route_id=route_id,
                    name=route.name or route_id,
                    queue=route.inbound.queue,
                    state=processor.state,
                    in_flight=processor.in_flight,
                    ready=depth.ready if depth else 0,
                    delayed=depth.delayed if depth else 0,
                    concurrency=processor.context.slots.limit,
                    held_back=self._backpressure.held_back(route_id)
                    if self._backpressure
                    else None,
                    breakers=processor.breakers,
                    holding=processor.context.holder.reason,
                )
            )
        return result

    @property
    def published(self) -> int:
        """Return how many of the items that start the execution have been announced."""
        return self._publisher.published

    def gathering(self) -> dict[tuple[str, str], list[str]]:
        """Return the messages that wait for their batch to fill, by route and stage."""
        return {
            (route_id, stage.name): waiting
            for route_id, stage in self._stages
            if (waiting := stage.gathering)
        }

    def holding(self) -> dict[str, str]:
        """Return why routes hold, by route; empty when none does.

        Under `_publisher` and `_end` stands why publishing, and letting go of the queues, have to wait.
        """
        holders = {
            route_id: processor.context.holder for route_id, processor in self._processors.items()
        }
        holders["_publisher"] = self._publisher.holder
        holders["_end"] = self._holder
        return {
            name: reason
            for name, holder in holders.items()
            if (reason := holder.reason) is not None
        }

    async def run(self, on_final: Callable[[FinalState], Awaitable[None]]) -> None:
        """Wait for the end, bring everything to rest, report, and let go of the queues."""
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
        await self._rest(grace)
        gap = await self._flush_lineage()
        progress = messages_only(await self._services.queue.progress(self._scope))
        await on_final(FinalState(status, progress, gap, self._warning(progress), error))
        if gap:
            self._services.lineage.gap_noted.set()
        if status != "interrupted":
            await self._holder.until_done(self._services.queue.delete, self._scope)

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

    def _build(self) -> None:
        recent = RecentArtefacts()
        for route_id, route in self.spec.config.routes.items():
            context = RouteContext(
                scope=self._scope,
                route_id=route_id,
                graph=self._graph,
                config_hash=self.spec.config_hash,
                is_replay=self.spec.is_replay,
                services=self._services,
                recent=recent,
                backpressure=self._backpressure,
            )
            stages = [
                Stage(
                    adapter,
                    self._registry,
                    self._environ,
                    route_id,
                    context.slots,
                    adaptive_limit=context.adaptive_limit,
                    breaker=self._breaker(route_id, adapter.stage_name),
                )
                for adapter in route.adapters
            ]
            self._stages.extend((route_id, stage) for stage in stages)
            self._processors[route_id] = ReactiveRouteProcessor(
                context, stages, route.inbound.prefetch, self._on_fault
            )

    def _breaker(self, route_id: str, stage: str) -> CircuitBreaker | None:
        """Return a stage's breaker, None when the pipeline asks for none."""
        config = self.spec.config.circuit_breaker_for(route_id)
        if not config.failures:
            return None
        return CircuitBreaker(stage, config, self._services.clock, lambda: self._adjust(route_id))

    def _adjust(self, route_id: str) -> None:
        """Have a route take more or fewer messages, by what holds it now."""
        if route_id in self._processors:
            self._processors[route_id].adjust()

    async def _open_adapters(self) -> bool:
        """Open one after the other; False as soon as the execution is asked to stop."""
        shared: dict[str, Any] = {}
        for route_id, stage in self._stages:
            if self._stop.done():
                return False
            environment = AdapterEnvironment(
                execution_id=self.spec.execution_id,
                route=route_id,
                stage=stage.name,
                allow_private_networks=self._allow_private_networks,
                shared=shared,
            )
            opening = asyncio.create_task(
                stage.open(environment), name=f"open {route_id}/{stage.name}"
            )
            await self._come_to_an_end(opening)
            if self._stop.done():
                return False
            opening.result()
        return not self._stop.done()

    async def _come_to_an_end(self, opening: asyncio.Task[None]) -> None:
        """Wait until an adapter is open; once asked to stop, for the grace period at most.

        One that ignores its cancellation is left behind.
        """
        waited_for: list[asyncio.Future[Any]] = [opening, self._stop]
        try:
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                _, grace_seconds = self._stop.result()
                await asyncio.wait({opening}, timeout=grace_seconds)
        finally:
            if opening.cancel():
                await asyncio.wait({opening}, timeout=ABANDON_SECONDS)
            if opening.done() and not opening.cancelled():
                opening.exception()  # asked for, or asyncio complains of one that a stop covers

    async def _close_adapters(self) -> None:
        for route_id, stage in reversed(self._stages):
            closing = asyncio.create_task(stage.close(), name=f"close {route_id}/{stage.name}")
            await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
            # One that does not end is left behind, whatever it makes of its cancellation.
            late = closing.cancel()
            error = None if late or closing.cancelled() else closing.exception()
            if late or error is not None:
                log.warning(
                    "adapter did not close",
                    route=route_id,
                    stage=stage.name,
                    error=str(error or f"not within {CLOSE_SECONDS:g} s"),
                )

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
        await asyncio.gather(
            *(processor.stop(grace_seconds) for processor in self._processors.values())
        )
        await self._close_adapters()

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
