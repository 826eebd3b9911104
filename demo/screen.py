"""What the demo says: headings, sentences, commands and checked promises, within 80 columns."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

COLUMNS = 80
INDENT = "  "


def width() -> int:
    """Return the columns that a command's table may fill: the terminal's, else 80."""
    return shutil.get_terminal_size(fallback=(COLUMNS, 24)).columns if is_terminal() else COLUMNS


def is_terminal() -> bool:
    """Tell whether a person reads along; only they get colour and moving bars."""
    return sys.stdout.isatty()


def _coloured(text: str, code: str) -> str:
    if not is_terminal() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def heading(text: str) -> None:
    """Begin a chapter."""
    print(f"\n{_coloured(text, '1')}\n")


def say(text: str) -> None:
    """Print a sentence, folded."""
    print("\n".join(_folded(text, COLUMNS)))


def note(text: str) -> None:
    """Print a sentence indented and paler: progress, and what an answer said in short."""
    for line in _folded(text, COLUMNS - len(INDENT)):
        print(_coloured(INDENT + line, "2"))


def excerpt(lines: Sequence[str]) -> None:
    """Print lines of a document as they stand, indented and paler; the ends of long ones are cut."""
    room = COLUMNS - len(INDENT)
    for line in lines:
        shown = line if len(line) <= room else line[: room - 1] + "…"
        print(_coloured(INDENT + shown, "2"))


def _folded(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def path(place: Path) -> str:
    """Return the path as one would type it: relative when it is below the working folder."""
    here = Path.cwd()
    return str(place.relative_to(here)) if place.is_relative_to(here) else str(place)


def command(words: Sequence[str]) -> None:
    """Print a command line the way it can be pasted, continued on a second line when it is long."""
    lines = ["$"]
    for word in _pairs(words):
        if len(lines[-1]) + len(word) + 1 > COLUMNS - 2 and not lines[-1].endswith("$"):
            lines[-1] += " \\"
            lines.append(INDENT[:-1])
        lines[-1] += f" {word}"
    print(_coloured("\n".join(lines), "36"))


def _pairs(words: Sequence[str]) -> list[str]:
    """Return the words quoted for a shell, an option together with its value."""
    joined: list[str] = []
    takes_value = False
    for word in words:
        quoted = shlex.quote(word)
        if takes_value and not word.startswith("-"):
            joined[-1] += f" {quoted}"
            takes_value = False
        else:
            joined.append(quoted)
            takes_value = word.startswith("-")
    return joined


class Promises:
    """What the demo promises, each checked as soon as it can be."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.broken: list[str] = []

    def check(self, holds: bool, sentence: str) -> bool:
        """Print the sentence with how it turned out, and remember it; it names what was counted."""
        (self.kept if holds else self.broken).append(sentence)
        mark = _coloured("[ok]", "32") if holds else _coloured("[NO]", "1;31")
        first, *rest = _folded(sentence, COLUMNS - 5)
        print("\n".join([f"{mark} {first}", *(f"     {line}" for line in rest)]))
        return holds
