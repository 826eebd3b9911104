"""The skeleton of a pipeline as far as it can be read, so that one mistake does not hide the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factflow_engine.config.issues import PathParts


@dataclass(frozen=True, slots=True)
class StageOutline:
    """A stage. What is missing or of the wrong type is None."""

    index: int
    type: str | None
    name: str | None
    config: dict[str, Any] | None
    has_condition: bool
    has_batch: bool


@dataclass(frozen=True, slots=True)
class RouteOutline:
    """A route. What is missing or of the wrong type is None."""

    id: str
    queue: str | None
    outbound: str | None
    outbound_path: PathParts
    stages: tuple[StageOutline, ...]

    def stage_path(self, stage: StageOutline) -> PathParts:
        """Return where a stage stands."""
        return ("routes", self.id, "adapters", stage.index)


def outline_routes(data: Mapping[str, Any]) -> list[RouteOutline]:
    """Return the routes in the order they are written; whatever is not a block of keys is left out."""
    return [
        _route(route_id, route)
        for route_id, route in _block(data.get("routes")).items()
        if isinstance(route, dict)
    ]


def _route(route_id: str, route: dict[str, Any]) -> RouteOutline:
    outbound = route.get("outbound")
    path: PathParts = ("routes", route_id, "outbound")
    if isinstance(outbound, dict):
        outbound, path = outbound.get("queue"), (*path, "queue")
    adapters = route.get("adapters")
    return RouteOutline(
        id=route_id,
        queue=_text(_block(route.get("inbound")).get("queue")),
        outbound=_text(outbound),
        outbound_path=path,
        stages=tuple(
            _stage(index, adapter)
            for index, adapter in enumerate(adapters if isinstance(adapters, list) else [])
            if isinstance(adapter, dict)
        ),
    )


def _stage(index: int, adapter: dict[str, Any]) -> StageOutline:
    config = adapter.get("config")
    return StageOutline(
        index=index,
        type=_text(adapter.get("type")),
        name=_text(adapter.get("stage")) or _text(adapter.get("type")),
        config={} if config is None else config if isinstance(config, dict) else None,
        has_condition=adapter.get("condition") is not None,
        has_batch=adapter.get("batch") is not None,
    )


def _block(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
