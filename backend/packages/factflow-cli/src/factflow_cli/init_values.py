"""`--init KEY=VALUE`: overrides for the init message, typed and nested."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from factflow_cli.errors import CliError

_HINT = "write it like --init url=https://example.org or --init crawl.depth=2"


def parse_init(assignments: Iterable[str]) -> dict[str, Any] | None:
    """Return the object that the assignments describe; None when there are none.

    VALUE is JSON when it parses as JSON, else text. Dots in KEY nest: `a.b=1` is `{"a": {"b": 1}}`.
    Raises `CliError` for a missing `=`, an empty part of a key, or a key given twice.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        path = key.strip().split(".")
        if not equals:
            raise CliError(f"--init {assignment!r} has no '='", hint=_HINT)
        if not all(path):
            raise CliError(f"--init {assignment!r} has an empty key", hint=_HINT)
        _put(values, path, _value(text), assignment)
    return values or None


def _put(values: dict[str, Any], path: list[str], value: Any, assignment: str) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise CliError(f"--init {assignment!r}: {part!r} already has a value", hint=_HINT)
    if path[-1] in values:
        raise CliError(f"--init {assignment!r}: {'.'.join(path)!r} is given twice", hint=_HINT)
    values[path[-1]] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> NoReturn:
    """NaN and Infinity are not JSON: `--init name=NaN` means the text."""
    raise ValueError(name)
