"""How the routes of a snapshot hang together, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.config.models import PipelineGlobalConfig

EdgeKind = Literal["outbound", "dead_letter"]


@dataclass(frozen=True, slots=True)
class DagNode:
    """A route with the names of its stages in the order they run."""

    route_id: str
    name: str
    queue: str
    adapters: list[str]


@dataclass(frozen=True, slots=True)
class DagEdge:
    """A queue that one route fills, with its results or with its failures, and another consumes."""

    from_route: str
    to_route: str
    queue: str
    kind: EdgeKind = "outbound"


@dataclass(frozen=True, slots=True)
class Dag:
    """Routes and the queues between them; `init_queue` is where the init message enters."""

    init_queue: str | None
    nodes: list[DagNode]
    edges: list[DagEdge]

    def sources(self) -> list[DagNode]:
        """Return the routes that messages come to from outside: the init message's, and those no other
        route feeds. At least one, unless all routes stand in cycles without an init message."""
        fed = {edge.to_route for edge in self.edges if edge.to_route != edge.from_route}
        entered = [node for node in self.nodes if node.queue == self.init_queue]
        return entered + [
            node for node in self.nodes if node.route_id not in fed and node not in entered
        ]


def dag_of(config: PipelineGlobalConfig) -> Dag:
    """Return the graph of a pipeline; it may hold cycles, whatever it is called."""
    init = config.init_message
    graph = PipelineGraph(config)
    dead = [
        DagEdge(route_id, consumer, queue, "dead_letter")
        for route_id, route in config.routes.items()
        if route.error_handling is not None
        and (queue := route.error_handling.dead_letter_queue) is not None
        and (consumer := graph.consumer(queue)) is not None
    ]
    return Dag(
        init_queue=config.routes[init.route].inbound.queue if init else None,
        nodes=[
            DagNode(
                route_id=route_id,
                name=route.name or route_id,
                queue=route.inbound.queue,
                adapters=[adapter.stage_name for adapter in route.adapters],
            )
            for route_id, route in config.routes.items()
        ],
        edges=[*(DagEdge(e.from_route, e.to_route, e.queue) for e in graph.edges()), *dead],
    )
