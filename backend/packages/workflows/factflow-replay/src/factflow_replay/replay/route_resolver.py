"""Which stage and which queue a replay means, by the source's snapshot and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from factflow_engine.config.graph import PipelineGraph
from factflow_replay.replay.models import (
    ReplayEmptyError,
    RouteNotFoundError,
    StageAmbiguousError,
    StageNotFoundError,
)


@dataclass(frozen=True, slots=True)
class ReplayTarget:
    """Where artefacts of (`route`, `stage`) enter. `redirected` when the request named a route."""

    route: str
    stage: str
    to_route: str
    entry_stage: str
    to_queue: str
    redirected: bool


class RouteResolver:
    """Resolves names in one pipeline."""

    def __init__(self, graph: PipelineGraph) -> None:
        self._graph = graph

    def resolve(self, from_stage: str, to_route: str | None) -> ReplayTarget:
        """Return the stage and target that a request means.

        Raises `StageNotFoundError`, `StageAmbiguousError`, `RouteNotFoundError`, and `ReplayEmptyError`
        when nothing follows the stage.
        """
        route, stage = self._stage(from_stage)
        if to_route is not None:
            if to_route not in self._graph.config.routes:
                raise RouteNotFoundError(to_route, self._graph.config.routes)
            return self._into(route, stage, to_route, redirected=True)
        following = self._graph.next_stage(route, stage)
        if following is not None:
            queue = self._graph.route(route).inbound.queue
            return ReplayTarget(route, stage, route, following, queue, redirected=False)
        outbound = self._graph.outbound(route)
        consumer = self._graph.consumer(outbound) if outbound is not None else None
        if consumer is None:
            raise ReplayEmptyError(
                f"nothing follows {route}/{stage}: it is the last stage of a route without outbound",
                hint="name a route for its artefacts with --to-route, or an earlier stage",
            )
        return self._into(route, stage, consumer, redirected=False)

    def _into(self, route: str, stage: str, to_route: str, *, redirected: bool) -> ReplayTarget:
        return ReplayTarget(
            route=route,
            stage=stage,
            to_route=to_route,
            entry_stage=self._graph.stages(to_route)[0].stage_name,
            to_queue=self._graph.route(to_route).inbound.queue,
            redirected=redirected,
        )

    def _stage(self, name: str) -> tuple[str, str]:
        candidates = self._graph.resolve_stage(name)
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise StageAmbiguousError(name, [f"{route}/{stage}" for route, stage in candidates])
        everything = [
            f"{route}/{adapter.stage_name}"
            for route in self._graph.config.routes
            for adapter in self._graph.stages(route)
        ]
        raise StageNotFoundError(name, everything)
