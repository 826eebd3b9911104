"""How a pipeline's routes hang together.

A route has at most one outbound queue and a queue has exactly one consumer, so every route has at most
one successor: paths are walks, and two cycles never share a route.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from factflow_engine.config.models import AdapterConfig, PipelineGlobalConfig, RouteConfig


@dataclass(frozen=True, slots=True)
class Edge:
    """A queue that one route fills and another (or the same) consumes."""

    from_route: str
    to_route: str
    queue: str


class PipelineGraph:
    """Look-ups over one pipeline that has passed validation.

    Methods that take a route or stage raise KeyError for one the pipeline does not have. Raises
    ValueError when two routes consume one queue or two stages of a route share a name.
    """

    def __init__(self, config: PipelineGlobalConfig) -> None:
        self.config = config
        self._consumers: dict[str, str] = {}
        self._stage_indexes: dict[str, dict[str, int]] = {}
        self._following: dict[tuple[str, str], str | None] = {}
        for route_id, route in config.routes.items():
            first = self._consumers.setdefault(route.inbound.queue, route_id)
            if first != route_id:
                raise ValueError(
                    f"queue {route.inbound.queue!r} is consumed by {first!r} and {route_id!r}"
                )
            names = [adapter.stage_name for adapter in route.adapters]
            self._stage_indexes[route_id] = {name: index for index, name in enumerate(names)}
            if len(self._stage_indexes[route_id]) < len(names):
                raise ValueError(f"route {route_id!r} has two stages of one name: {names}")
            for name, following in zip(names, [*names[1:], None], strict=True):
                self._following[route_id, name] = following

    def consumer(self, queue: str) -> str | None:
        """Return the route that consumes a queue."""
        return self._consumers.get(queue)

    def route(self, route_id: str) -> RouteConfig:
        """Return a route's settings."""
        return self.config.routes[route_id]

    def stages(self, route_id: str) -> tuple[AdapterConfig, ...]:
        """Return a route's stages in the order they run."""
        return self.config.routes[route_id].adapters

    def stage_index(self, route_id: str, stage: str) -> int:
        """Return a stage's place in its route, counted from 0."""
        return self._stage_indexes[route_id][stage]

    def stage(self, route_id: str, stage: str) -> AdapterConfig:
        """Return one stage."""
        return self.stages(route_id)[self.stage_index(route_id, stage)]

    def next_stage(self, route_id: str, stage: str) -> str | None:
        """Return the stage after this one in its route, None after the last."""
        return self._following[route_id, stage]

    def outbound(self, route_id: str) -> str | None:
        """Return the queue that a route's results go to, None when they go nowhere."""
        outbound = self.config.routes[route_id].outbound
        return outbound.queue if outbound else None

    def edges(self) -> list[Edge]:
        """Return the queues between routes, in the order the routes are written."""
        return [
            Edge(route_id, consumer, queue)
            for route_id in self.config.routes
            if (queue := self.outbound(route_id)) is not None
            and (consumer := self.consumer(queue)) is not None
        ]

    def resolve_stage(self, name: str) -> list[tuple[str, str]]:
        """Return every (route, stage) that `stage` or `route/stage` can mean; empty when none."""
        route_id, slash, stage = name.partition("/")
        if slash:
            return [(route_id, stage)] if stage in self._stage_indexes.get(route_id, {}) else []
        return [(route, name) for route, indexes in self._stage_indexes.items() if name in indexes]

    def reachable_from(self, route_id: str) -> set[str]:
        """Return the routes that a message of this route can come to over outbound queues: the route
        itself and all behind it."""
        self.route(route_id)
        followers: dict[str, list[str]] = {}
        for edge in self.edges():
            followers.setdefault(edge.from_route, []).append(edge.to_route)
        return reachable([route_id], followers)

    def feeders(self, route_id: str) -> frozenset[str]:
        """Return the routes whose messages, results or failed ones, can come to a route, without those
        of its own cycle. Raises KeyError."""
        self.route(route_id)
        followers = self._all_followers()
        own = reachable([route_id], followers)
        return frozenset(
            other
            for other in self.config.routes
            if other not in own and route_id in reachable([other], followers)
        )

    def _all_followers(self) -> dict[str, list[str]]:
        """Return where a route's messages go: over its outbound queue, and as dead letters."""
        found: dict[str, list[str]] = {}
        for route_id in self.config.routes:
            letters = self.config.error_handling_for(route_id).dead_letter_queue
            for queue in (self.outbound(route_id), letters):
                consumer = None if queue is None else self.consumer(queue)
                if consumer is not None:
                    found.setdefault(route_id, []).append(consumer)
        return found


def reachable(starts: Iterable[str], followers: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the starts and everything that can be walked to from them."""
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting.extend(followers.get(current, ()))
    return seen


def cycles(successor: Mapping[str, str]) -> list[list[str]]:
    """Return the cycles among nodes with at most one successor each.

    Each is a list in walking order that starts at its first node in the mapping's order.
    """
    order = {node: place for place, node in enumerate(successor)}
    done: set[str] = set()
    found = []
    for start in successor:
        path: list[str] = []
        node: str | None = start
        while node is not None and node not in done:
            done.add(node)
            path.append(node)
            node = successor.get(node)
        if node in path:
            loop = path[path.index(node) :]
            first = loop.index(min(loop, key=order.__getitem__))
            found.append(loop[first:] + loop[:first])
    return found
