"""How two pipelines differ, place by place; how the YAML is written does not matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from factflow_engine.config.models import PipelineGlobalConfig
from factflow_replay.replay.models import ConfigDifference

_MISSING: Any = object()


def config_differences(
    old: PipelineGlobalConfig, new: PipelineGlobalConfig
) -> list[ConfigDifference]:
    """Return every place where the pipelines differ, in the order of the new one.

    Stages are told apart by their names: `routes.first.adapters.clean.config.depth`. A stage that only
    changed its place is one difference, at `routes.first.adapters`.
    """
    return list(_differences("", _by_stage(old), _by_stage(new)))


def _by_stage(config: PipelineGlobalConfig) -> dict[str, Any]:
    """Return a pipeline as plain data, each route's stages by name and their order as a list."""
    data: dict[str, Any] = config.model_dump(mode="json")
    for route_id, route in config.routes.items():
        block = data["routes"][route_id]
        names = [adapter.stage_name for adapter in route.adapters]
        stages = dict(zip(names, block["adapters"], strict=True))
        for name, stage in stages.items():
            stage["stage"] = name
        block["adapters"] = _Stages(stages, names)
    return data


class _Stages(dict[str, Any]):
    """A route's stages by name."""

    def __init__(self, stages: dict[str, Any], order: list[str]) -> None:
        super().__init__(stages)
        self.order = order


def _differences(path: str, old: Any, new: Any) -> Iterator[ConfigDifference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if isinstance(old, _Stages) and isinstance(new, _Stages) and _moved(old, new):
            yield ConfigDifference(path, "changed", old.order, new.order)
        for key in [*new, *(key for key in old if key not in new)]:
            place = f"{path}.{key}" if path else str(key)
            yield from _differences(place, old.get(key, _MISSING), new.get(key, _MISSING))
    elif old is _MISSING:
        yield ConfigDifference(path, "added", None, new)
    elif new is _MISSING:
        yield ConfigDifference(path, "removed", old, None)
    elif old != new or isinstance(old, bool) is not isinstance(new, bool):
        yield ConfigDifference(path, "changed", old, new)


def _moved(old: _Stages, new: _Stages) -> bool:
    return [name for name in old.order if name in new] != [
        name for name in new.order if name in old
    ]
