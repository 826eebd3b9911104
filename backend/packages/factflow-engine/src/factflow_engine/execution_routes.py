"""The routes of one execution in this process: adapters open, processors taking messages.

They know neither how the execution began nor when it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from factflow_engine.backpressure import Backpressure
from factflow_engine.circuit_breaker import CircuitBreaker
from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import ExecutionSpec, RouteRuntime, StopRequest
from factflow_engine.recent import RecentArtefacts
from factflow_engine.registry import AdapterRegistry
from factflow_engine.route_context import EngineServices, RouteContext
from factflow_engine.route_processor import ABANDON_SECONDS, ReactiveRouteProcessor
from factflow_engine.stage import Stage
from factflow_foundation import logs
from factflow_protocols.pipeline import AdapterEnvironment
from factflow_protocols.queue import QueueDepth, QueueScope

CLOSE_SECONDS = 5.0
"""Seconds an adapter may take to close."""

log = logs.logger(__name__)


class ExecutionRoutes:
    """Opened by `open`, at work from `start` to `rest`. `on_fault` is told of errors of the engine itself.

    Of routes that this process does not serve it knows what waits, and no more: others take their messages.
    """

    def __init__(
        self,
        spec: ExecutionSpec,
        services: EngineServices,
        registry: AdapterRegistry,
        on_fault: Callable[[BaseException], None],
        *,
        environ: Mapping[str, str],
        allow_private_networks: bool,
    ) -> None:
        self.graph = PipelineGraph(spec.config)
        self.scope = QueueScope(spec.execution_id, spec.generation)
        self._spec = spec
        self._services = services
        self._registry = registry
        self._on_fault = on_fault
        self._environ = environ
        self._allow_private_networks = allow_private_networks
        self._stages: list[tuple[str, Stage]] = []
        self._processors: dict[str, ReactiveRouteProcessor] = {}
        pressure = Backpressure(self.graph, services.queue, self.scope, self._adjust)
        self._backpressure = pressure if pressure.bounds_anything else None
        self._end_watch: Callable[[], None] | None = None

    async def open(self, stop: StopRequest) -> bool:
        """Build every stage and open its adapter.

        False when it was asked to stop before all were open. Raises what building or opening an adapter
        raises. In both cases nothing is left open.
        """
        opened = False
        try:
            self._build()
            opened = await self._open_adapters(stop)
        finally:
            if not opened:
                await self.close()
        return opened

    def start(self) -> None:
        """Subscribe every route and begin to take messages, where nothing holds it."""
        if self._backpressure is not None:
            watch = self._services.queue.watch
            self._end_watch = watch(self.scope, self._backpressure.look)
            self._backpressure.look()  # queues that were there before may be full
        for route_id, processor in self._processors.items():
            queue = self.graph.route(route_id).inbound.queue
            processor.start(queue, paused=route_id in self._services.paused_routes)

    async def rest(self, grace_seconds: float) -> None:
        """Take no more; what is in hand may end within the grace period. Then close the adapters."""
        if self._end_watch is not None:
            self._end_watch()
        await asyncio.gather(
            *(processor.stop(grace_seconds) for processor in self._processors.values())
        )
        await self.close()

    async def close(self) -> None:
        """Close the adapters, the last opened first; one that takes too long is left behind."""
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
        depths = self._services.queue.depths(self.scope)
        result = []
        for route_id, route in self._spec.config.routes.items():
            processor = self._processors.get(route_id)
            depth = depths.get(route.inbound.queue)
            if processor is None:
                result.append(self._elsewhere(route_id, depth))
                continue
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

    def _elsewhere(self, route_id: str, depth: QueueDepth | None) -> RouteRuntime:
        """Return a route as it stands whose messages others take."""
        route = self.graph.route(route_id)
        paused = route_id in self._services.paused_routes
        return RouteRuntime(
            route_id=route_id,
            name=route.name or route_id,
            queue=route.inbound.queue,
            state="paused" if paused else "running",
            in_flight=depth.in_flight if depth else 0,
            ready=depth.ready if depth else 0,
            delayed=depth.delayed if depth else 0,
            concurrency=route.inbound.concurrency,
            served_here=False,
        )

    def gathering(self) -> dict[tuple[str, str], list[str]]:
        """Return the messages that wait for their batch to fill, by route and stage."""
        return {
            (route_id, stage.name): waiting
            for route_id, stage in self._stages
            if (waiting := stage.gathering)
        }

    def holding(self) -> dict[str, str]:
        """Return why routes hold, by route; empty when none does."""
        return {
            route_id: reason
            for route_id, processor in self._processors.items()
            if (reason := processor.context.holder.reason) is not None
        }

    def _build(self) -> None:
        recent = RecentArtefacts()
        for route_id, route in self._spec.config.routes.items():
            if not self._services.serves(route_id):
                continue
            context = RouteContext(
                scope=self.scope,
                route_id=route_id,
                graph=self.graph,
                config_hash=self._spec.config_hash,
                is_replay=self._spec.is_replay,
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
        config = self._spec.config.circuit_breaker_for(route_id)
        if not config.failures:
            return None
        return CircuitBreaker(stage, config, self._services.clock, lambda: self._adjust(route_id))

    def _adjust(self, route_id: str) -> None:
        """Have a route take more or fewer messages, by what holds it now."""
        if route_id in self._processors:
            self._processors[route_id].adjust()

    async def _open_adapters(self, stop: StopRequest) -> bool:
        """Open one after the other; False as soon as the execution is asked to stop."""
        shared: dict[str, Any] = {}
        for route_id, stage in self._stages:
            if stop.done():
                return False
            environment = AdapterEnvironment(
                execution_id=self._spec.execution_id,
                route=route_id,
                stage=stage.name,
                allow_private_networks=self._allow_private_networks,
                shared=shared,
            )
            opening = asyncio.create_task(
                stage.open(environment), name=f"open {route_id}/{stage.name}"
            )
            await self._come_to_an_end(opening, stop)
            if stop.done():
                return False
            opening.result()
        return not stop.done()

    async def _come_to_an_end(self, opening: asyncio.Task[None], stop: StopRequest) -> None:
        """Wait until an adapter is open; once asked to stop, for the grace period at most.

        One that ignores its cancellation is left behind.
        """
        waited_for: list[asyncio.Future[Any]] = [opening, stop]
        try:
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                _, grace_seconds = stop.result()
                await asyncio.wait({opening}, timeout=grace_seconds)
        finally:
            if opening.cancel():
                await asyncio.wait({opening}, timeout=ABANDON_SECONDS)
            if opening.done() and not opening.cancelled():
                opening.exception()  # asked for, or asyncio complains of one that a stop covers
