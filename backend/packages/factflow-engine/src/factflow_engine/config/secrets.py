"""`${NAME}` in adapter settings: resolved in memory only, never stored.

`${NAME}` is the environment variable, `${NAME:-default}` falls back when it is unset or empty, and
`$${` stands for a plain `${`. References are replaced once: what a variable holds is never looked into.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from factflow_engine.config.issues import PathParts, format_path
from factflow_protocols.errors import FactflowError

_REFERENCE = re.compile(
    r"\$(?P<escape>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
)
_BARE_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


class MissingVariableError(FactflowError):
    """A setting refers to an environment variable that is not set, and gives no default."""

    code: ClassVar[str] = "config_invalid"

    def __init__(self, variable: str, path: str) -> None:
        super().__init__(
            f"{path or 'a setting'} needs the environment variable {variable}, which is not set",
            hint=f"set {variable} for the server, or write ${{{variable}:-default}}",
        )
        self.variable = variable
        self.path = path


def resolve_environment(
    config: Mapping[str, Any], environ: Mapping[str, str], *, path: PathParts = ()
) -> dict[str, Any]:
    """Return a copy of an adapter's settings with every reference replaced.

    `path` is where the settings stand in the YAML, for the message. Raises `MissingVariableError` at the
    first reference without value or default.
    """
    return {key: _resolve(value, environ, (*path, key)) for key, value in config.items()}


def missing_variables(
    config: Mapping[str, Any], environ: Mapping[str, str], *, path: PathParts = ()
) -> list[tuple[PathParts, str]]:
    """Return each (YAML path, variable) that `resolve_environment` would miss."""
    return [
        (place, match["name"])
        for place, text in _texts(config, path)
        for match in _REFERENCE.finditer(text)
        if match["name"] and match["default"] is None and not _value(match["name"], environ)
    ]


def referenced_values(config: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the referenced variables hold, by reference: for keeping them out of messages."""
    return {
        match[0]: environ[match["name"]]
        for _, text in _texts(config, ())
        for match in _REFERENCE.finditer(text)
        if match["name"] and match["name"] in environ
    }


def is_bare_reference(value: Any) -> bool:
    """Tell whether a value is one `${NAME}` and nothing else: the only form a secret may have."""
    return isinstance(value, str) and _BARE_REFERENCE.fullmatch(value) is not None


def _resolve(value: Any, environ: Mapping[str, str], path: PathParts) -> Any:
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: _replacement(match, environ, path), value)
    if isinstance(value, Mapping):
        return {key: _resolve(item, environ, (*path, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolve(item, environ, (*path, index)) for index, item in enumerate(value)]
    return value


def _replacement(match: re.Match[str], environ: Mapping[str, str], path: PathParts) -> str:
    if match["escape"]:
        return match["escape"]
    found = _value(match["name"], environ)
    if found:
        return found
    if match["default"] is None:
        raise MissingVariableError(match["name"], format_path(path))
    return match["default"]


def _value(name: str, environ: Mapping[str, str]) -> str | None:
    """Return a variable's value; callers treat one that is set to nothing as not set."""
    return environ.get(name)


def _texts(value: Any, path: PathParts) -> Iterator[tuple[PathParts, str]]:
    """Yield every text in a nested value with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
