"""Which folders of an execution hold a route's or a stage's artefacts."""

from __future__ import annotations

from collections.abc import Sequence

from factflow_engine.config.graph import PipelineGraph
from factflow_execution.models import PipelineExecution
from factflow_execution.snapshot import snapshot_config
from factflow_foundation import keys
from factflow_replay.replay.errors import RouteNotFoundError, StageNotFoundError


def stage_prefixes(execution: PipelineExecution, route: str | None, stage: str | None) -> list[str]:
    """Return the folders of a route, of a stage in it, or of a stage in every route that has one.

    Raises `RouteNotFoundError` and `StageNotFoundError` for names its snapshot does not have.
    """
    graph = PipelineGraph(snapshot_config(execution.config_snapshot))
    routes = list(graph.config.routes)
    if route is not None and route not in routes:
        raise RouteNotFoundError(route, routes, "the execution's pipeline")
    chosen = routes if route is None else [route]
    if stage is None:
        return [keys.route_prefix(execution.execution_id, one) for one in chosen]
    stages = {one: [adapter.stage_name for adapter in graph.stages(one)] for one in chosen}
    found = [
        keys.stage_prefix(execution.execution_id, one, stage)
        for one, names in stages.items()
        if stage in names
    ]
    if not found:
        known = [f"{one}/{name}" for one, names in stages.items() for name in names]
        raise StageNotFoundError(stage, known, "the execution's pipeline")
    return found


def folders(
    execution: PipelineExecution, routes: Sequence[str], stages: Sequence[str]
) -> list[str]:
    """Return the folders of some stages in some routes, where they have them; without stages those of the
    routes, without either the execution's.

    Raises `RouteNotFoundError` and `StageNotFoundError` for names its snapshot does not have.
    """
    of_routes = [folder for route in routes for folder in stage_prefixes(execution, route, None)]
    if not stages:
        return list(dict.fromkeys(of_routes)) or [keys.execution_prefix(execution.execution_id)]
    found = [folder for stage in stages for folder in stage_prefixes(execution, None, stage)]
    return [
        folder
        for folder in dict.fromkeys(found)
        if not of_routes or any(folder.startswith(f"{route}/") for route in of_routes)
    ]
