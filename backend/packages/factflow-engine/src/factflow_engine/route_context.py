"""What every message of a route shares: where it belongs, and the services that serve it."""

from __future__ import annotations

from dataclasses import dataclass, field

from factflow_engine.adaptive_limit import AdaptiveLimit
from factflow_engine.backpressure import Backpressure
from factflow_engine.config.graph import PipelineGraph
from factflow_engine.fan_out import Target
from factflow_engine.holding import Holder
from factflow_engine.message_metadata import MetadataLimit
from factflow_engine.other_workers import NoOtherWorkers, OtherWorkers
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.recent import RecentArtefacts
from factflow_engine.retry_policy import RetryPolicy
from factflow_engine.run_gate import RunGate
from factflow_engine.slots import Slots
from factflow_engine.stall_watch import StallWatch
from factflow_engine.tracing import StageTracer
from factflow_foundation.clock import Clock
from factflow_lineage.writer import LineageService
from factflow_protocols.queue import QueueProtocol, QueueScope


@dataclass(frozen=True, slots=True)
class EngineServices:
    """What all executions share."""

    queue: QueueProtocol
    store: OutcomeStore
    metadata_limit: MetadataLimit
    lineage: LineageService
    clock: Clock
    watch: StallWatch
    gate: RunGate
    paused_routes: set[str]
    """Names of routes that take no messages, in whichever execution."""
    tracer: StageTracer | None = None
    """Who is told of every stage call; usually nobody."""
    served_routes: frozenset[str] | None = None
    """Names of routes whose messages this process takes; None: of all."""
    others: OtherWorkers = field(default_factory=NoOtherWorkers)
    """Processes that take messages of the executions owned here."""

    def serves(self, route_id: str) -> bool:
        """Tell whether messages of a route are taken in this process."""
        return self.served_routes is None or route_id in self.served_routes


class RouteContext:
    """One route of one execution."""

    def __init__(
        self,
        *,
        scope: QueueScope,
        route_id: str,
        graph: PipelineGraph,
        config_hash: str,
        is_replay: bool,
        services: EngineServices,
        recent: RecentArtefacts,
        backpressure: Backpressure | None = None,
    ) -> None:
        self.scope = scope
        self.execution_id = scope.execution_id
        self.route_id = route_id
        self.config_hash = config_hash
        self.is_replay = is_replay
        self.queue = services.queue
        self.store = services.store
        self.metadata_limit = services.metadata_limit
        self.lineage = services.lineage
        self.clock = services.clock
        self.gate = services.gate
        self.tracer = services.tracer
        self.recent = recent
        self.backpressure = backpressure
        """What may hold the routes of the execution; None when no queue of it is bounded."""
        self.holder = Holder(f"{self.execution_id}/{route_id}")
        errors = graph.config.error_handling_for(route_id)
        self.retries = RetryPolicy.of(errors)
        self.outbound = self._target_of(graph, graph.outbound(route_id))
        self.dead_letters = self._target_of(graph, errors.dead_letter_queue, consumed_only=True)
        self.kept_dead_letters = None if self.dead_letters else errors.dead_letter_queue
        """The dead-letter queue that no route consumes: its letters are kept as copies."""
        self.graph = graph
        concurrency = graph.route(route_id).inbound.concurrency
        pressure = graph.config.backpressure_for(route_id)
        self.highest_concurrency = concurrency
        self.adaptive_limit: AdaptiveLimit | None = None
        if pressure.target_latency_ms is not None:
            self.highest_concurrency = pressure.max_concurrency or concurrency
        self.slots = Slots(min(concurrency, self.highest_concurrency))
        """The route's places, one to be held while an adapter of it runs."""
        if pressure.target_latency_ms is not None:
            target = pressure.target_latency_ms / 1000
            self.adaptive_limit = AdaptiveLimit(self.slots, target, self.highest_concurrency)

    def is_last(self, stage: str) -> bool:
        """Tell whether a stage is its route's last."""
        return self.graph.next_stage(self.route_id, stage) is None

    def target_after(self, stage: str) -> Target:
        """Return where children emitted by a stage go: on in this route, or out of it."""
        following = self.graph.next_stage(self.route_id, stage)
        if following is not None:
            queue = self.graph.route(self.route_id).inbound.queue
            return Target(queue, self.route_id, following)
        return self.outbound or Target("", "", "")

    def queue_of(self, route_id: str) -> str:
        """Return the inbound queue of a route of this pipeline."""
        return self.graph.route(route_id).inbound.queue

    @staticmethod
    def _target_of(
        graph: PipelineGraph, queue: str | None, *, consumed_only: bool = False
    ) -> Target | None:
        if queue is None:
            return None
        consumer = graph.consumer(queue)
        if consumer is None:
            return None if consumed_only else Target(queue, "", "")
        return Target(queue, consumer, graph.stages(consumer)[0].stage_name)
