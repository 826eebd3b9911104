"""What the options of `factflow execution replay` say, as the body that the API takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from factflow_cli.errors import CliError

_SET_HINT = "write it like --set route.stage.model=small or --set route.stage.limits.depth=2"


def split_names(given: Sequence[str]) -> list[str]:
    """Return names given one by one or with commas between them."""
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """Return `ROUTE.STAGE.KEY=VALUE` as a mapping; VALUE is JSON when it parses as JSON, else text.

    Raises `CliError` for a missing `=` or a name given twice.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            raise CliError(f"--set {assignment!r} has no NAME=", hint=_SET_HINT)
        if name in values:
            raise CliError(f"--set: {name!r} is given twice", hint=_SET_HINT)
        values[name] = _value(text)
    return values


def read_ids(messages: Sequence[str], file: str | None) -> list[str]:
    """Return the ids of `--message`, then those of a file with one on each line (`-` reads stdin).

    Empty lines and lines that begin with `#` do not count. Raises `CliError` for a file that cannot be
    read, and for one without ids: an empty list of messages must not come to mean all of them.
    """
    found = split_names(messages)
    if file is not None:
        lines = [line.strip() for line in _text(file).splitlines()]
        ids = [line for line in lines if line and not line.startswith("#")]
        if not ids:
            raise CliError(
                f"{file} names no message",
                hint="put one message, lineage or origin id on each line",
            )
        found += ids
    return list(dict.fromkeys(found))


def _text(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise CliError(
            f"cannot read {file}: {error.strerror or error}", hint="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise CliError(
            f"{file} is not UTF-8 text: byte {error.start}", hint="one id on each line"
        ) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> NoReturn:
    """NaN and Infinity are not JSON: `--set a.b.c=NaN` means the text."""
    raise ValueError(name)
