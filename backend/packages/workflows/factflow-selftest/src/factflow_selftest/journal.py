"""Files that only grow: what adapters did, told outside of the process that did it.

A line is one `write()` to a descriptor opened with `O_APPEND`, so lines of several processes never mix.
Each begins with a line end: what a kill cut short cannot swallow the line behind it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from factflow_protocols.pipeline import PipelineContext

What = Literal["start", "end", "error"]


class Unit(NamedTuple):
    """What may not be done twice: one attempt of one message at one stage."""

    execution_id: str
    route: str
    stage: str
    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the adapters' journal; `at` is where in the file it ends, in bytes."""

    at: int
    pid: int
    what: What
    unit: Unit


class Journal:
    """The writing half, held by an adapter; without a path it keeps silent."""

    def __init__(self, path: str | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = None if path is None else os.open(path, flags, 0o600)

    def tell(self, what: What, context: PipelineContext) -> None:
        """Append one line about a message."""
        if self._file is None:
            return
        fields = [
            os.getpid(),
            what,
            context.execution_id,
            context.route,
            context.stage,
            context.message_id,
            context.attempt,
        ]
        os.write(self._file, b"\n" + json.dumps(fields).encode())

    def close(self) -> None:
        """Let go of the file; repeated calls do nothing more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_lines(path: Path) -> list[Line]:
    """Return what adapters told, in its order; a line that a kill cut short is left out."""
    return [
        Line(at, fields[0], fields[1], Unit(*fields[2:]))
        for at, fields in read_entries(path)
        if isinstance(fields, list) and len(fields) == 7
    ]


def read_entries(path: Path) -> list[tuple[int, Any]]:
    """Return every whole JSON line of a journal with the place where it ends; none without a file."""
    data = path.read_bytes() if path.exists() else b""
    found: list[tuple[int, Any]] = []
    start = 0
    for line in data.split(b"\n"):
        end = start + len(line)
        start = end + 1
        try:
            found.append((end, json.loads(line)))
        except ValueError:
            continue  # empty, or cut short
    return found
