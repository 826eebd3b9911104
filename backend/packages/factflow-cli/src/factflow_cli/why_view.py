"""Causes drawn for a person: a tree of sentences, each above what it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factflow_cli import terminal
from factflow_cli.tables import wrapped

Row = Mapping[str, Any]

STEP = "   "
DEEPEST_INDENT = 24
"""Cells. Longer chains stop indenting before they leave the screen."""


def draw_answer(answer: Row, causes: Sequence[Row]) -> None:
    """Print the summary, the tree of causes, and under each cause without a deeper one what to try."""
    for line in wrapped(terminal.one_line(answer.get("summary") or ""), terminal.width()):
        terminal.write_text(f"{line}\n")
    for cause in causes:
        _draw(cause, "")


def _draw(cause: Row, indent: str) -> None:
    lead = f"{indent}+- "
    rest = f"{indent}   "
    words = terminal.one_line(f"{cause.get('code')}: {cause.get('sentence')}")
    lines = wrapped(words, max(24, terminal.width() - len(lead)), further="")
    for place, line in enumerate(lines):
        terminal.write_text(f"{rest if place else lead}{line}\n")
    below = cause.get("because")
    below = [each for each in below if isinstance(each, Mapping)] if isinstance(below, list) else []
    if not below and cause.get("next"):
        for line in _command(f"try: {terminal.one_line(cause['next'])}", rest):
            terminal.write_text(f"{line}\n")
    deeper = indent + STEP if len(indent) < DEEPEST_INDENT else indent
    for each in below:
        _draw(each, deeper)


def _command(words: str, indent: str) -> list[str]:
    """Return a command as lines that fit, the ends of all but the last such that a shell goes on."""
    lines = wrapped(words, max(24, terminal.width() - len(indent) - 2))
    return [f"{indent}{line} \\" for line in lines[:-1]] + [f"{indent}{lines[-1]}"]
