"""Which messages lie behind others on the same path: a cycle may pass a stage twice, and what came of a
dead letter lies behind the failure it came from."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from factflow_engine.config.graph import PipelineGraph, reachable
from factflow_replay.replay.route_resolver import dead_letter_route, followers
from factflow_replay.replay.source_view import SourceView


class Paths:
    """The parents of all messages in some routes, by lineage id.

    This is what a replay has to hold in memory of a graph with a cycle or dead letters: some 250 bytes
    for each record that a message can have left on its way to the stage.
    """

    def __init__(self, graph: PipelineGraph) -> None:
        self._graph = graph
        self._parents: dict[bytes, bytes] = {}
        self._selected: dict[bytes, bytes] = {}

    def may_pass_twice(self, route: str) -> bool:
        """Tell whether what leaves a route may come back to it."""
        sends_to = followers(self._graph)
        return any(route in reachable([next_one], sends_to) for next_one in sends_to[route])

    def has_dead_letters(self) -> bool:
        """Tell whether some route handles the dead letters of another (or its own)."""
        return any(dead_letter_route(self._graph, route) for route in self._graph.config.routes)

    async def load(
        self, view: SourceView, routes: Iterable[str], selected: AsyncIterable[str]
    ) -> None:
        """Note the `selected` origins, then read every record in `routes`."""
        wanted = {bytes.fromhex(origin) async for origin in selected}
        for route in routes:
            for adapter in self._graph.stages(route):
                async for record in view.every_version(route, adapter.stage_name):
                    lineage = bytes.fromhex(record.lineage_id)
                    parent = record.parent_id or record.replayed_from
                    if parent is not None:
                        self._parents[lineage] = bytes.fromhex(parent)
                    origin = bytes.fromhex(record.origin_id)
                    if origin in wanted:
                        self._selected[lineage] = origin

    def is_behind(self, parent: str | None, origin_id: str) -> bool:
        """Tell whether one of the selected origins stands further up the path of a message."""
        own = bytes.fromhex(origin_id)
        lineage = None if parent is None else bytes.fromhex(parent)
        while lineage is not None:
            if self._selected.get(lineage, own) != own:
                return True
            lineage = self._parents.get(lineage)
        return False


def upstream_of(graph: PipelineGraph, route: str) -> set[str]:
    """Return the routes from which messages can come to a route, itself included."""
    sends_to = followers(graph)
    return {other for other in graph.config.routes if route in reachable([other], sends_to)}
