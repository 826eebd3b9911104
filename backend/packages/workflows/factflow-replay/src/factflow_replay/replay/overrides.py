"""`route.stage.key=value`: adapter settings changed for one replay, in its snapshot and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from factflow_engine.config.yaml_source import read_yaml
from factflow_replay.replay.errors import (
    ReplayRefusedError,
    RouteNotFoundError,
    StageNotFoundError,
    listed,
)

_HINT = "write ROUTE.STAGE.KEY=VALUE; dots in KEY lead further down"
Settings = dict[str, Any]


def with_overrides(text: str, overrides: Mapping[str, Any]) -> str:
    """Return a pipeline's YAML with adapter settings replaced; the same text when there are none.

    `text` has passed validation; the result has not: whether a setting exists, fits, and is no
    written-out secret is for the loader to say. Comments of the text are lost. Raises
    `RouteNotFoundError`, `StageNotFoundError`, and `ReplayRefusedError` for a name that cannot be read.
    """
    if not overrides:
        return text
    data = copy.deepcopy(read_yaml(text).data)
    for name, value in overrides.items():
        adapter, path = _place(data["routes"], name)
        if not isinstance(adapter.get("config"), dict):
            adapter["config"] = {}
        _put(adapter["config"], path, value, name)
    changed = yaml.dump(data, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=100)
    if read_yaml(changed).data != data:
        raise ReplayRefusedError(
            "an override has a value that YAML cannot hold unchanged",
            hint="give text, numbers, true, false, lists and objects with text keys",
        )
    return str(changed)


class _PlainDumper(yaml.SafeDumper):
    """Writes what occurs twice twice, instead of as a reference."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _place(routes: Mapping[str, Any], name: str) -> tuple[Settings, list[str]]:
    """Return the adapter's block that a name means, and the path within its settings.

    Routes and stages may have dots in their names, so all ways to read the name are tried.
    """
    found: list[tuple[Settings, str]] = []
    in_route: list[str] = []
    for route, block in routes.items():
        if not name.startswith(f"{route}."):
            continue
        rest = name[len(route) + 1 :]
        for adapter in block["adapters"]:
            stage = adapter.get("stage") or adapter["type"]
            in_route.append(f"{route}.{stage}")
            if rest.startswith(f"{stage}."):
                found.append((adapter, rest[len(stage) + 1 :]))
    if len(found) > 1:
        raise ReplayRefusedError(f"the override {name!r} can be read in two ways", hint=_HINT)
    if found:
        adapter, key = found[0]
        path = key.split(".")
        if all(path):
            return adapter, path
        raise ReplayRefusedError(f"the override {name!r} has an empty key", hint=_HINT)
    raise _unknown(routes, name, in_route)


def _unknown(routes: Mapping[str, Any], name: str, in_route: list[str]) -> Exception:
    first, _, rest = name.partition(".")
    if not in_route:
        return RouteNotFoundError(first, routes, "the replay's pipeline")
    if not rest or name in in_route:
        return ReplayRefusedError(
            f"the override {name!r} names no setting", hint=f"{_HINT}; {listed(in_route)}"
        )
    return StageNotFoundError(name, in_route, "the replay's pipeline")


def _put(settings: Any, path: list[str], value: Any, name: str) -> None:
    for part, following in zip(path, [*path[1:], None], strict=True):
        key: Any = part
        if isinstance(settings, list):
            key = _index(settings, part, name)
        elif not isinstance(settings, dict):
            raise ReplayRefusedError(
                f"the override {name!r} leads into {part!r} of something that has no parts",
                hint=_HINT,
            )
        if following is None:
            settings[key] = copy.deepcopy(value)
            return
        if isinstance(settings, dict) and settings.get(key) is None:
            settings[key] = {}
        settings = settings[key]


def _index(items: list[Any], part: str, name: str) -> int:
    if part.isascii() and part.isdigit() and len(part) < 9 and int(part) < len(items):
        return int(part)
    raise ReplayRefusedError(
        f"the override {name!r} leads into a list of {len(items)}, which has no item {part!r}",
        hint="items are numbered from 0",
    )
