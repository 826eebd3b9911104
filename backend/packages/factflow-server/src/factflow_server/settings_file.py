"""`factflow.toml`: settings in a file, under the names that the environment has behind `FACTFLOW_`.

    data_dir = "/var/lib/factflow"
    database_url = "postgresql://factflow:PASSWORD@db/factflow"

What is wrong is told with the file, the line and the key, and never with a value.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factflow_server.settings import ServerStartError

NAME = "factflow.toml"
VARIABLE = "FACTFLOW_SETTINGS"
_HINT = "README of factflow-server lists the settings"


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a file says, by setting, and in which line it says it."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def place(self, name: str) -> str:
        """Return where a setting stands, for a person."""
        return f"{self.path} line {self.lines.get(name, 1)}"


def find_settings_file(named: Path | None) -> Path | None:
    """Return the file to read: the one that was named, by option or variable, or the working
    directory's if there is one."""
    variable = os.environ.get(VARIABLE)
    if named is not None or variable:
        return named or Path(str(variable))
    usual = Path(NAME)
    return usual if usual.is_file() else None


def read_settings_file(path: Path, known: Collection[str]) -> SettingsFile:
    """Read a file of settings. Raises `ServerStartError` when it cannot be read, is no TOML, or has a key
    that is no setting."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ServerStartError(
            f"cannot read the settings file {path}: {error.strerror}",
            hint=f"--settings or {VARIABLE} names it; without either, {NAME} is read where it is there",
        ) from error
    except UnicodeDecodeError as error:
        raise ServerStartError(f"the settings file {path} is not UTF-8 text") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ServerStartError(
            f"the settings file {path} is not TOML: {error}",
            hint='strings stand in quotes: data_dir = "/var/lib/factflow"',
        ) from error
    file = SettingsFile(path, values, _lines(text, values))
    unknown = [name for name in values if name not in known]
    if unknown:
        told = "; ".join(f"{file.place(name)}: {_unknown(name, known)}" for name in unknown)
        raise ServerStartError(f"unknown settings: {told}", hint=_HINT)
    return file


def _unknown(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name!r} is no setting" + (f"; did you mean {near[0]!r}?" if near else "")


def _lines(text: str, names: Collection[str]) -> dict[str, int]:
    """Return the first line of each key or table."""
    lines = text.splitlines()
    found: dict[str, int] = {}
    for name in names:
        bare = re.compile(rf"""\s*\[*\s*["']?{re.escape(name)}["']?\s*[].=]""")
        number = next((n for n, line in enumerate(lines, 1) if bare.match(line)), None)
        if number is not None:
            found[name] = number
    return found
