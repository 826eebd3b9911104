"""Which stages a replay may run, and how their code differs from what ran in the source."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.registry import AdapterRegistry
from factflow_foundation.records import OutcomeRecord
from factflow_replay.replay.models import PlannedStage
from factflow_replay.replay.route_resolver import followers
from factflow_replay.replay.source_view import SourceView


async def planned_stages(
    entries: Iterable[tuple[str, str]],
    pipeline: PipelineGraph,
    source: PipelineGraph,
    view: SourceView,
    registry: AdapterRegistry,
) -> list[PlannedStage]:
    """Return the stages behind the entries, in the order of the YAML.

    What ran in the source is read from one of the records that a stage has there.
    """
    places = _reached(entries, pipeline)
    types = sorted({pipeline.stage(route, stage).type for route, stage in places})
    changed = await asyncio.to_thread(registry.changed, types)
    changed_types = {adapter.type for adapter in changed}
    found = []
    for route, stage in places:
        adapter = pipeline.stage(route, stage).type
        before = await _some_record(source, view, route, stage)
        found.append(
            PlannedStage(
                route=route,
                stage=stage,
                adapter=adapter,
                version=registry.get(adapter).version,
                source_adapter=before.adapter if before else None,
                source_version=before.adapter_version if before else None,
                changed_on_disk=adapter in changed_types,
            )
        )
    return found


def _reached(entries: Iterable[tuple[str, str]], graph: PipelineGraph) -> list[tuple[str, str]]:
    """Return every stage that a message can come to from the entries."""
    first: dict[str, int] = {}
    waiting: list[str] = []
    for route, stage in entries:
        index = graph.stage_index(route, stage)
        if route not in first:
            waiting.append(route)
        first[route] = min(index, first.get(route, index))
    sends_to = followers(graph)
    while waiting:
        for route in sends_to[waiting.pop()]:
            if first.get(route) != 0:
                first[route] = 0
                waiting.append(route)
    return [
        (route, adapter.stage_name)
        for route in graph.config.routes
        if route in first
        for adapter in graph.stages(route)[first[route] :]
    ]


async def _some_record(
    source: PipelineGraph, view: SourceView, route: str, stage: str
) -> OutcomeRecord | None:
    if not source.resolve_stage(f"{route}/{stage}"):
        return None
    return await view.first_at(route, stage)
