"""Which routes take nothing because too much waits downstream of them.

A route whose queue has more than its `max_queued` ready messages is *crowded* until it has half of that or
less: stopping and going on at one mark would wake every hand of a route for every message. While a
route is crowded, all routes that lead to it and lie outside its own cycle take nothing. Publishing never
waits, so the mark is passed by what they have in hand, and by how far that fans out.

Nothing can wait in a circle: the routes of a cycle never hold each other, and what is left of the routes
without their cycles leads one way. The last of them is held by none and empties its queue.
"""

from __future__ import annotations

from collections.abc import Callable

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import HeldBack
from factflow_protocols.queue import QueueProtocol, QueueScope


class _Bounded:
    """A route with a bound on its queue, and the routes that fill it."""

    __slots__ = ("crowded", "feeders", "limit", "queue", "route")

    def __init__(self, route: str, queue: str, limit: int, feeders: frozenset[str]) -> None:
        self.route = route
        self.queue = queue
        self.limit = limit
        self.feeders = feeders
        self.crowded = False

    def look(self, ready: int) -> bool:
        """Note how much waits; tell whether that changed anything."""
        before = self.crowded
        self.crowded = ready > (self.limit // 2 if before else self.limit)
        return self.crowded != before


class Backpressure:
    """One execution's. `on_change` is called with a route's id whenever it is to stop taking or to go on.

    `look` is to be called when a message was taken and when its handling ended: that is when depths change.
    """

    def __init__(
        self,
        graph: PipelineGraph,
        queue: QueueProtocol,
        scope: QueueScope,
        on_change: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._scope = scope
        self._on_change = on_change
        self._bounded = []
        for route_id, route in graph.config.routes.items():
            limit = graph.config.backpressure_for(route_id).max_queued
            feeders = graph.feeders(route_id)
            if limit is not None and feeders:
                self._bounded.append(_Bounded(route_id, route.inbound.queue, limit, feeders))

    @property
    def bounds_anything(self) -> bool:
        """Tell whether it can ever hold a route."""
        return bool(self._bounded)

    def look(self) -> None:
        """Compare what waits now with the bounds, and tell the routes for which that changes something."""
        depths = self._queue.depths(self._scope)
        touched: set[str] = set()
        for bounded in self._bounded:
            depth = depths.get(bounded.queue)
            if bounded.look(depth.ready if depth is not None else 0):
                touched |= bounded.feeders
        for route_id in touched:
            self._on_change(route_id)

    def holds(self, route_id: str) -> bool:
        """Tell whether a route is to take nothing."""
        return any(b.crowded and route_id in b.feeders for b in self._bounded)

    def held_back(self, route_id: str) -> HeldBack | None:
        """Return what keeps a route from taking, None when nothing does."""
        for bounded in self._bounded:
            if bounded.crowded and route_id in bounded.feeders:
                depth = self._queue.depths(self._scope).get(bounded.queue)
                return HeldBack(bounded.route, depth.ready if depth else 0, bounded.limit)
        return None
