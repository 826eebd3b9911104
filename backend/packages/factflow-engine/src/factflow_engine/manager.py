"""All executions of this process: starts them, bounds their number, owns their tasks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping

from factflow_engine.execution_spec import (
    ExecutionSlots,
    ExecutionSpec,
    FinalState,
    FinalStatus,
    RouteRuntime,
    StopRequest,
    TooManyConcurrentExecutionsError,
    messages_only,
)
from factflow_engine.message_metadata import MetadataLimit
from factflow_engine.orchestrator import PipelineOrchestrator
from factflow_engine.other_workers import NoOtherWorkers, OtherWorkers
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.registry import AdapterRegistry
from factflow_engine.route_context import EngineServices
from factflow_engine.run_gate import RunGate
from factflow_engine.run_totals import RunTotals, plus
from factflow_engine.stall_watch import Stall, StallWatch
from factflow_engine.tracing import StageTracer
from factflow_foundation import logs
from factflow_foundation.clock import Clock, SystemClock
from factflow_lineage.writer import LineageService
from factflow_protocols.queue import Progress, QueueProtocol, QueueScope
from factflow_protocols.storage import StorageProtocol

DEFAULT_LIMIT = 12
STOP_PATIENCE = 20.0
"""Seconds beyond the grace period in which executions close adapters and write how they ended."""

log = logs.logger(__name__)


class OrchestratorManager:
    """One per server process. `on_finished` is awaited once per execution that ends here, and tells whether
    the end is this server's to say; the execution counts as running until it returns."""

    def __init__(
        self,
        *,
        queue: QueueProtocol,
        storage: StorageProtocol,
        lineage: LineageService,
        registry: AdapterRegistry,
        on_finished: Callable[[str, FinalState], Awaitable[bool]],
        max_concurrent_executions: int = DEFAULT_LIMIT,
        max_artefact_bytes: int | None = None,
        max_metadata_bytes: int | None = None,
        allow_private_networks: bool = False,
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
        tracer: StageTracer | None = None,
        served_routes: frozenset[str] | None = None,
        others: OtherWorkers | None = None,
    ) -> None:
        self._services = EngineServices(
            queue=queue,
            store=OutcomeStore(storage, max_artefact_bytes),
            metadata_limit=MetadataLimit(max_metadata_bytes),
            lineage=lineage,
            clock=clock or SystemClock(),
            watch=StallWatch(),
            gate=RunGate(),
            paused_routes=set(),
            tracer=tracer,
            served_routes=served_routes,
            others=others or NoOtherWorkers(),
        )
        self._registry = registry
        self._on_finished = on_finished
        self._limit = max_concurrent_executions
        self._allow_private_networks = allow_private_networks
        self._environ = environ
        self._reserved: dict[str, StopRequest] = {}
        self._slot_freed = asyncio.Event()
        self._waiting: list[str] = []
        self._orchestrators: dict[str, PipelineOrchestrator] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._totals = RunTotals()

    def reserve(self, execution_id: str) -> None:
        """Take a slot for an execution about to start. Raises `TooManyConcurrentExecutionsError`."""
        if len(self._reserved) >= self._limit:
            raise TooManyConcurrentExecutionsError(
                f"{self._limit} executions run already, the most this server allows at a time",
                hint="wait for one to end (factflow execution list --status running), "
                "or start the server with a higher --max-concurrent-executions",
            )
        self._take_slot(execution_id)

    async def reserve_when_free(self, execution_id: str) -> None:
        """Take a slot as soon as there is one."""
        self._waiting.append(execution_id)
        try:
            while len(self._reserved) >= self._limit:
                self._slot_freed.clear()
                await self._slot_freed.wait()
            self._take_slot(execution_id)
        finally:
            self._waiting.remove(execution_id)

    def release(self, execution_id: str) -> None:
        """Give back a slot whose execution did not start; a running one keeps its slot."""
        if execution_id not in self._orchestrators:
            self._free(execution_id)

    async def start(self, spec: ExecutionSpec) -> FinalStatus | None:
        """Start an execution that holds a slot; return None when every route takes messages.

        Return how it is to end when it was asked to stop before that: nothing of it is open then. Raises
        what building or opening its adapters raises. The slot stays reserved unless it runs.
        """
        stop = self._reserved[spec.execution_id]
        orchestrator = PipelineOrchestrator(
            spec,
            self._services,
            self._registry,
            stop,
            environ=self._environ,
            allow_private_networks=self._allow_private_networks,
        )
        self._services.lineage.tallies.begin(spec.execution_id)
        started = False
        try:
            started = await orchestrator.start()
        finally:
            if not started:
                self._services.lineage.tallies.end(spec.execution_id)
        if not started:
            return stop.result()[0]
        self._orchestrators[spec.execution_id] = orchestrator
        self._services.watch.acquire()
        self._tasks[spec.execution_id] = asyncio.create_task(
            self._run(orchestrator), name=f"execution {spec.execution_id}"
        )
        return None

    def ask_to_stop(self, execution_id: str, status: FinalStatus, grace_seconds: float) -> None:
        """Have an execution that runs, or is about to, end as `cancelled` or `interrupted`; the first
        request counts, and one that holds no slot is no error."""
        request = self._reserved.get(execution_id)
        if request is not None and not request.done():
            request.set_result((status, grace_seconds))

    async def cancel(self, execution_id: str, grace_seconds: float = 10.0) -> None:
        """Cancel an execution and return when it has stopped; one that does not run is no error."""
        self.ask_to_stop(execution_id, "cancelled", grace_seconds)
        task = self._tasks.get(execution_id)
        if task is not None:
            await asyncio.wait([task])

    def pause(self, route_id: str) -> None:
        """Have every route of this name take no more messages, in executions to come too.

        What they have in hand goes on to its end; their queues keep what comes.
        """
        self._services.paused_routes.add(route_id)
        for orchestrator in self._orchestrators.values():
            orchestrator.routes.pause(route_id)

    def resume(self, route_id: str) -> None:
        """Have every route of this name take messages again."""
        self._services.paused_routes.discard(route_id)
        for orchestrator in self._orchestrators.values():
            orchestrator.routes.resume(route_id)

    async def found_in_queue(self, execution_id: str, generation: int) -> Progress | None:
        """Return how far an execution's messages are by its queues, None when these were lost."""
        progress = await self._services.queue.find(QueueScope(execution_id, generation))
        return None if progress is None else messages_only(progress)

    async def queues_left(self) -> list[tuple[str, int]]:
        """Return the executions, with their generations, that have queues and do not run here."""
        return [
            (scope.execution_id, scope.generation)
            for scope in await self._services.queue.scopes()
            if scope.execution_id not in self._orchestrators
        ]

    async def discard(self, execution_id: str, generation: int) -> None:
        """Forget the queues of an execution that will not run again; what lineage lacks of it is filled."""
        if execution_id not in self._orchestrators:
            await self._services.queue.delete(QueueScope(execution_id, generation))
            self._services.lineage.gap_noted.set()

    def is_running(self, execution_id: str) -> bool:
        """Tell whether an execution runs in this process."""
        return execution_id in self._orchestrators

    def running(self) -> list[str]:
        """Return the ids of the executions that run here, oldest first."""
        return list(self._orchestrators)

    def runtime(self, execution_id: str) -> list[RouteRuntime]:
        """Return an execution's routes as they stand; empty when it does not run here."""
        orchestrator = self._orchestrators.get(execution_id)
        return orchestrator.routes.runtime() if orchestrator is not None else []

    def published(self, execution_id: str) -> int | None:
        """Return how many items an execution's publisher has announced; None when it does not run here."""
        orchestrator = self._orchestrators.get(execution_id)
        return orchestrator.published if orchestrator is not None else None

    def slots(self) -> ExecutionSlots:
        """Return how many executions may run here, how many do, and which wait for a place."""
        return ExecutionSlots(self._limit, len(self._reserved), tuple(self._waiting))

    def gathering(self, execution_id: str) -> dict[tuple[str, str], list[str]]:
        """Return the messages of an execution that wait for their batch to fill, by route and stage."""
        orchestrator = self._orchestrators.get(execution_id)
        return orchestrator.routes.gathering() if orchestrator is not None else {}

    def per_second(self, execution_id: str, route_id: str) -> float:
        """Return how many messages a route settled in a second, over the last minute; 0 when it does not
        run here."""
        return self._services.lineage.tallies.per_second(execution_id, route_id)

    def holding(self) -> dict[str, dict[str, str]]:
        """Return why routes hold, by execution and route."""
        return {
            execution_id: reasons
            for execution_id, orchestrator in self._orchestrators.items()
            if (reasons := orchestrator.holding())
        }

    @property
    def last_stall(self) -> Stall | None:
        """Return the most recent stall of the event loop, with the stage that caused it."""
        return self._services.watch.last

    @property
    def watch(self) -> StallWatch:
        """Return who watches the event loop and counts its stalls."""
        return self._services.watch

    async def messages(self) -> Progress:
        """Return the counts of all messages of executions that run here or did, since the start.

        Those of an execution that was taken up again include what was done before. Raises
        `QueueUnavailableError`.
        """
        while True:
            ended = total = self._totals.messages
            for execution_id, orchestrator in list(self._orchestrators.items()):
                if not self._totals.has(execution_id):
                    scope = QueueScope(execution_id, orchestrator.spec.generation)
                    progress = await self._services.queue.progress(scope)
                    total = plus(total, messages_only(progress))
            if self._totals.messages is ended:  # else one ended meanwhile, and may be counted twice
                return total

    def ended(self) -> Mapping[FinalStatus, int]:
        """Return how many executions ended here since the start, by how they ended."""
        return dict(self._totals.ended)

    async def stop(self, grace_seconds: float) -> None:
        """End all executions as `interrupted`, for the server is going down."""
        for execution_id in self._reserved:
            self.ask_to_stop(execution_id, "interrupted", grace_seconds)
        if self._tasks:
            _, left = await asyncio.wait(
                list(self._tasks.values()), timeout=grace_seconds + STOP_PATIENCE
            )
            for (
                task
            ) in left:  # a stop always ends; what is left behind is recovered at the next start
                log.error("execution did not come to rest", task=task.get_name())
                task.cancel()

    def _take_slot(self, execution_id: str) -> None:
        self._reserved[execution_id] = asyncio.get_running_loop().create_future()

    def _free(self, execution_id: str) -> None:
        self._reserved.pop(execution_id, None)
        self._slot_freed.set()

    async def _finish(self, execution_id: str, final: FinalState) -> bool:
        # Whoever waits for the end may start the next one at once, so the slot is free before it shows.
        self._free(execution_id)
        self._totals.end(execution_id, final)
        return await self._on_finished(execution_id, final)

    async def _run(self, orchestrator: PipelineOrchestrator) -> None:
        execution_id = orchestrator.spec.execution_id
        try:
            await orchestrator.run(lambda final: self._finish(execution_id, final))
        except Exception as error:  # noqa: BLE001 - the task has nobody to raise to
            log.error("execution did not end cleanly", execution_id=execution_id, error=repr(error))
        finally:
            del self._orchestrators[execution_id]
            del self._tasks[execution_id]
            self._free(execution_id)
            self._totals.gone(execution_id)
            self._services.lineage.tallies.end(execution_id)
            self._services.watch.release()
