"""What a pydantic model would accept where: its keys at a path, and the places that hold secrets."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from factflow_engine.config.issues import PathParts

_SECRETS = (SecretStr, SecretBytes, Secret)


def known_keys(model: type[BaseModel], path: PathParts) -> list[str]:
    """Return the keys that the block at `path` may have; empty when anything goes there."""
    annotations: list[Any] = [model]
    for part in path:
        annotations = [inner for outer in annotations for inner in _inside(outer, part)]
    return [
        _key(name, field)
        for annotation in annotations
        for option in _options(annotation)
        if _is_class(option, BaseModel)
        for name, field in option.model_fields.items()
    ]


def secret_values(model: type[BaseModel], config: Mapping[str, Any]) -> list[tuple[PathParts, Any]]:
    """Return each (path, value) in `config` that stands where the model wants a secret."""
    return list(_secrets(config, [model], ()))


def _secrets(
    value: Any, annotations: list[Any], path: PathParts
) -> Iterator[tuple[PathParts, Any]]:
    options = [option for annotation in annotations for option in _options(annotation)]
    if any(_is_class(get_origin(option) or option, _SECRETS) for option in options):
        if value is not None:
            yield path, value
        return
    parts: Sequence[str | int] = ()
    if isinstance(value, Mapping):
        parts = list(value)
    elif isinstance(value, list):
        parts = range(len(value))
    for part in parts:
        inner = [found for option in options for found in _inside(option, part)]
        if inner:
            yield from _secrets(value[part], inner, (*path, part))


def _options(annotation: Any) -> list[Any]:
    """Return the alternatives of a union, or the annotation alone."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return [option for part in get_args(annotation) for option in _options(part)]
    return [annotation]


def _inside(annotation: Any, part: str | int) -> list[Any]:
    """Return the annotations of a value's part."""
    found: list[Any] = []
    for option in _options(annotation):
        origin, arguments = get_origin(option), get_args(option)
        if _is_class(option, BaseModel):
            fields = option.model_fields.items()
            found += [field.annotation for name, field in fields if part == _key(name, field)]
        elif isinstance(part, str) and _is_class(origin, Mapping) and len(arguments) == 2:
            found.append(arguments[1])
        elif isinstance(part, int) and _is_class(origin, Sequence) and arguments:
            variadic = len(arguments) == 1 or arguments[-1] is Ellipsis
            place = 0 if variadic else min(part, len(arguments) - 1)
            found.append(arguments[place])
    return found


def _key(name: str, field: FieldInfo) -> str:
    """Return the key a field is read from."""
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def _is_class(candidate: Any, parents: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, parents)
