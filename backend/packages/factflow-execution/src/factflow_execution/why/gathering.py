"""Gathers what is known when somebody asks why: once for each question, whatever is in trouble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.config.issues import ConfigurationError
from factflow_engine.execution_spec import RouteRuntime
from factflow_engine.manager import OrchestratorManager
from factflow_engine.outcome_store import OutcomeStore
from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import PipelineExecution
from factflow_execution.route_pauses import RoutePause, RoutePauses
from factflow_execution.snapshot import snapshot_config
from factflow_execution.why.facts import ExecutionFacts, InWork, NextAttempt, Pause, RouteFacts
from factflow_execution.workers import Workers
from factflow_foundation.clock import Clock
from factflow_lineage.errors import LineageUnavailableError
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.repository import PipelineLineageRepository
from factflow_protocols.errors import QueueUnavailableError
from factflow_protocols.queue import MessagePlace, QueueProtocol, QueueScope

ROWS_LOOKED_AT = 5
"""Rows of the oldest work that are held against the queue: what ended meanwhile is no reason."""


class FactGatherer:
    """Asks manager, pauses, queue, lineage and storage. `put_off` says which recoveries are tried later,
    and why; it is read at every question."""

    def __init__(
        self,
        *,
        executions: ExecutionService,
        manager: OrchestratorManager,
        pauses: RoutePauses,
        lineage: PipelineLineageRepository,
        queue: QueueProtocol,
        store: OutcomeStore,
        clock: Clock,
        put_off: Mapping[str, str],
        workers: Workers | None = None,
    ) -> None:
        self.executions = executions
        self.manager = manager
        self.lineage = lineage
        self.queue = queue
        self.store = store
        self._pauses = pauses
        self._clock = clock
        self._put_off = put_off
        self._workers = workers

    def now(self) -> float:
        """Return the time (Unix seconds) that an answer is of."""
        return self._clock.now()

    async def pauses(self) -> dict[str, Pause]:
        """Return the pauses in force, by route."""
        return {pause.route_id: _pause(pause) for pause in await self._pauses.all()}

    async def execution(
        self, row: PipelineExecution, silent_owner: str | None = None
    ) -> ExecutionFacts:
        """Return what is known of an execution and its routes here; `silent_owner` is the server that runs
        it, if that is another one, which did not answer."""
        execution_id = row.execution_id
        manager = self.manager
        planned = (row.replay_source or {}).get("planned_messages")
        facts = ExecutionFacts(
            now=self.now(),
            execution=row,
            graph=_graph(row),
            runs_here=manager.is_running(execution_id),
            launching=self.executions.is_launching(execution_id),
            slots=manager.slots(),
            published=manager.published(execution_id),
            planned=planned if isinstance(planned, int) else None,
            engine_holds=manager.holding().get(execution_id, {}),
            end_unwritten=self.executions.late_ends.unwritten.get(execution_id),
            put_off=self._put_off.get(execution_id),
            stall=manager.last_stall,
            silent_owner=silent_owner,
        )
        try:
            facts = replace(facts, failures=await self.lineage.failure_groups(execution_id))
        except LineageUnavailableError as error:
            facts = replace(facts, lineage_trouble=error.message)
        deletions = await self.executions.deletions.find([execution_id])
        facts = replace(facts, deletion=deletions.get(execution_id))
        pauses = await self.pauses()
        if self._workers is not None and row.status == "running":
            facts = replace(
                facts,
                workers=tuple(await self._workers.all()),
                shares=tuple(await self._workers.shares(execution_id)),
            )
        try:
            # Only who runs it, or may take it up, has the queue look for what it lost.
            if row.status in {"running", "interrupted"} and silent_owner is None:
                progress = await manager.found_in_queue(execution_id, row.generation)
                facts = replace(facts, progress=progress)
        except QueueUnavailableError as error:
            facts = replace(facts, engine_holds={**facts.engine_holds, "_publisher": error.message})
        # Of the same moment as the progress: nothing is awaited between the two.
        runtimes = manager.runtime(execution_id)
        return replace(facts, routes=await self._routes(facts, runtimes, pauses))

    async def find(self, execution: PipelineExecution, message_id: str) -> MessagePlace | None:
        """Return where a message of an execution stands; raises `QueueUnavailableError`."""
        scope = QueueScope(execution.execution_id, execution.generation)
        return await self.queue.find_message(scope, message_id)

    async def _routes(
        self, facts: ExecutionFacts, runtimes: Sequence[RouteRuntime], pauses: Mapping[str, Pause]
    ) -> dict[str, RouteFacts]:
        gathering = self.manager.gathering(facts.id)
        found = {}
        for runtime in runtimes:
            route_id = runtime.route_id
            found[route_id] = RouteFacts(
                runtime=runtime,
                pause=pauses.get(route_id),
                attempts=_attempts(facts.graph, route_id),
                upstream=_upstream(facts.graph, route_id),
                in_work=await self._in_work(facts, runtime),
                next_attempt=await self._next_attempt(facts, runtime),
                gathering={
                    stage: len(ids)
                    for (route, stage), ids in gathering.items()
                    if route == route_id
                },
            )
        return found

    async def _in_work(self, facts: ExecutionFacts, runtime: RouteRuntime) -> tuple[InWork, ...]:
        if not runtime.in_flight:
            return ()
        return tuple(
            InWork(row.message_id, row.stage, row.started_at)
            for row, place in await self._standing(facts, runtime.route_id, waiting=False)
            if place.state == "in_flight"
        )

    async def _next_attempt(
        self, facts: ExecutionFacts, runtime: RouteRuntime
    ) -> NextAttempt | None:
        if not runtime.delayed:
            return None
        found = [
            NextAttempt(
                row.message_id,
                row.stage,
                row.attempts,
                row.error.type if row.error else "",
                row.error.message if row.error else "",
                place.not_before,
            )
            for row, place in await self._standing(facts, runtime.route_id, waiting=True)
            if place.state == "delayed"
        ]
        return min(found, key=lambda each: each.at or 0.0, default=None)

    async def _standing(
        self, facts: ExecutionFacts, route_id: str, *, waiting: bool
    ) -> list[tuple[PipelineLineageEntry, MessagePlace]]:
        """Return a route's oldest rows under way whose messages still stand in its queue."""
        try:
            rows = await self.lineage.under_way(
                facts.id,
                "pending" if waiting else "processing",
                route_id=route_id,
                limit=ROWS_LOOKED_AT,
            )
            places = [await self.find(facts.execution, row.message_id) for row in rows]
        except (LineageUnavailableError, QueueUnavailableError):
            return []
        return [(row, place) for row, place in zip(rows, places, strict=True) if place is not None]


def _pause(pause: RoutePause) -> Pause:
    return Pause(pause.paused_at, pause.paused_by, pause.reason, pause.until)


def _graph(row: PipelineExecution) -> PipelineGraph | None:
    try:
        return PipelineGraph(snapshot_config(row.config_snapshot))
    except ConfigurationError:
        return None


def _attempts(graph: PipelineGraph | None, route_id: str) -> int:
    return 1 if graph is None else graph.config.error_handling_for(route_id).max_retries + 1


def _upstream(graph: PipelineGraph | None, route_id: str) -> tuple[str, ...]:
    if graph is None:
        return ()
    return tuple(edge.from_route for edge in graph.edges() if edge.to_route == route_id)
