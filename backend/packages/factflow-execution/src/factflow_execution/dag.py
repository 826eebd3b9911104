"""How the routes of a snapshot hang together, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

from factflow_engine.config.graph import Edge, PipelineGraph
from factflow_engine.config.models import PipelineGlobalConfig


@dataclass(frozen=True, slots=True)
class DagNode:
    """A route with the names of its stages in the order they run."""

    route_id: str
    name: str
    queue: str
    adapters: list[str]


@dataclass(frozen=True, slots=True)
class Dag:
    """Routes and the queues between them; `init_queue` is where the init message enters."""

    init_queue: str | None
    nodes: list[DagNode]
    edges: list[Edge]


def dag_of(config: PipelineGlobalConfig) -> Dag:
    """Return the graph of a pipeline; it may hold cycles, whatever it is called."""
    init = config.init_message
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
        edges=PipelineGraph(config).edges(),
    )
