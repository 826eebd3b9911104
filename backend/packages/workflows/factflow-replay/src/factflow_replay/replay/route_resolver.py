"""Which stage and which queue a replay means: by the source's snapshot, and by the pipeline that the new
execution runs (the same one, unless a config was named), and by nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from factflow_engine.config.graph import PipelineGraph
from factflow_replay.replay.errors import (
    RouteNotFoundError,
    StageAmbiguousError,
    StageNotFoundError,
)


@dataclass(frozen=True, slots=True)
class ReplayTarget:
    """Where messages that stood at (`route`, `stage`) go on.

    `entry_stage` is None when nothing follows the stage. `hops` tells that they go through a queue to
    `to_route`, rather than on down their own chain, and `redirected` that the request named that route.
    """

    route: str
    stage: str
    to_route: str
    entry_stage: str | None
    to_queue: str
    hops: bool = False
    redirected: bool = False


class RouteResolver:
    """Resolves names in two pipelines: what the source ran, and what the replay will run."""

    def __init__(
        self, source: PipelineGraph, target: PipelineGraph, target_name: str | None = None
    ) -> None:
        self._source = source
        self._target = target
        self._target_name = target_name or "the source's pipeline"

    def resolve(self, from_stage: str, to_route: str | None = None) -> ReplayTarget:
        """Return what a request means.

        Raises `StageNotFoundError`, `StageAmbiguousError` and `RouteNotFoundError`. With `to_route` the
        stage is one of the source only; without it both pipelines must have it.
        """
        if to_route is not None:
            route, stage = self._one(from_stage, self._in_source(from_stage))
            if to_route not in self._target.config.routes:
                raise RouteNotFoundError(to_route, self._target.config.routes, self._target_name)
            return self._into(route, stage, to_route, redirected=True)
        route, stage = self._one(from_stage, self._in_both(from_stage))
        following = self._target.next_stage(route, stage)
        if following is not None:
            queue = self._target.route(route).inbound.queue
            return ReplayTarget(route, stage, route, following, queue)
        outbound = self._target.outbound(route)
        consumer = self._target.consumer(outbound) if outbound is not None else None
        if consumer is None:
            return ReplayTarget(route, stage, route, None, self._target.route(route).inbound.queue)
        return self._into(route, stage, consumer, redirected=False)

    def require(self, route: str, stage: str) -> None:
        """Raise `StageNotFoundError` unless the replay's pipeline has this stage."""
        name = f"{route}/{stage}"
        if not self._target.resolve_stage(name):
            raise StageNotFoundError(name, stage_names(self._target), self._target_name)

    def _into(self, route: str, stage: str, to_route: str, *, redirected: bool) -> ReplayTarget:
        return ReplayTarget(
            route=route,
            stage=stage,
            to_route=to_route,
            entry_stage=self._target.stages(to_route)[0].stage_name,
            to_queue=self._target.route(to_route).inbound.queue,
            hops=True,
            redirected=redirected,
        )

    def _in_source(self, name: str) -> list[tuple[str, str]]:
        found = self._source.resolve_stage(name)
        if not found:
            raise StageNotFoundError(name, stage_names(self._source))
        return found

    def _in_both(self, name: str) -> list[tuple[str, str]]:
        ran = self._in_source(name)
        found = [place for place in ran if place in self._target.resolve_stage(name)]
        if not found:
            wanted = "/".join(ran[0]) if len(ran) == 1 else name
            raise StageNotFoundError(wanted, stage_names(self._target), self._target_name)
        return found

    @staticmethod
    def _one(name: str, found: list[tuple[str, str]]) -> tuple[str, str]:
        if len(found) > 1:
            raise StageAmbiguousError(name, [f"{route}/{stage}" for route, stage in found])
        return found[0]


def stage_names(graph: PipelineGraph) -> list[str]:
    """Return every stage as `route/stage`, in the order of the YAML."""
    return [
        f"{route}/{adapter.stage_name}"
        for route in graph.config.routes
        for adapter in graph.stages(route)
    ]


def followers(graph: PipelineGraph) -> dict[str, list[str]]:
    """Return, by route, the routes it sends to: over its outbound queue, and its dead letters."""
    found: dict[str, list[str]] = {route: [] for route in graph.config.routes}
    for edge in graph.edges():
        found[edge.from_route].append(edge.to_route)
    for route in graph.config.routes:
        consumer = dead_letter_route(graph, route)
        if consumer is not None:
            found[route].append(consumer)
    return found


def dead_letter_route(graph: PipelineGraph, route: str) -> str | None:
    """Return the route that consumes a route's dead letters, None when none does."""
    queue = graph.config.error_handling_for(route).dead_letter_queue
    return graph.consumer(queue) if queue is not None else None
