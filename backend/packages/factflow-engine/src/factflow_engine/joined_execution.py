"""An execution that another process owns, as this one works on it: adapters open, messages taken.

It publishes nothing of its own, counts nothing, and does not know when the execution is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from factflow_engine.execution_routes import ExecutionRoutes
from factflow_engine.execution_spec import ExecutionSpec, StopRequest
from factflow_engine.registry import AdapterRegistry
from factflow_engine.route_context import EngineServices
from factflow_foundation import logs

log = logs.logger(__name__)


class JoinedExecution:
    """Opened by `open`, at work from `start` to `rest`. `fault` is done when the engine itself failed
    here: whoever joined it is to rest, and others go on."""

    def __init__(
        self,
        spec: ExecutionSpec,
        services: EngineServices,
        registry: AdapterRegistry,
        *,
        environ: Mapping[str, str],
        allow_private_networks: bool,
    ) -> None:
        self.spec = spec
        self.fault: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._services = services
        self.routes = ExecutionRoutes(
            spec,
            services,
            registry,
            self._on_fault,
            environ=environ,
            allow_private_networks=allow_private_networks,
        )
        self._started = False

    async def open(self, stop: StopRequest) -> bool:
        """Open the adapters of the routes served here.

        False when it was asked to stop before; raises what building or opening an adapter raises. In
        both cases nothing is left open.
        """
        return await self.routes.open(stop)

    async def start(self) -> None:
        """Take part in the execution's queues, and take messages.

        Raises `QueueError` when the execution has no queues (yet, or any more), and
        `QueueUnavailableError`; the adapters are closed then.
        """
        try:
            await self._services.queue.join(self.routes.scope)
        except BaseException:
            await self.routes.close()
            raise
        self._services.lineage.tallies.begin(self.spec.execution_id)
        self._services.watch.acquire()
        self._started = True
        self.routes.start()

    async def rest(self, grace_seconds: float) -> None:
        """Take no more; what is in hand may end within the grace period, and goes back to the queue after
        it. Then the adapters are closed."""
        await self.routes.rest(grace_seconds)
        if self._started:
            self._started = False
            await self._services.queue.leave(self.routes.scope)
            self._services.lineage.tallies.end(self.spec.execution_id)
            self._services.watch.release()

    def _on_fault(self, error: BaseException) -> None:
        log.error("execution fault", execution_id=self.spec.execution_id, error=repr(error))
        if not self.fault.done():
            self.fault.set_result(error)
