"""Causes drawn for a person: a tree of sentences, each above what it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factflow_cli import terminal
from factflow_cli.tables import print_line, wrapped

Row = Mapping[str, Any]

STEP = "   "
DEEPEST_INDENT = 24
"""Cells. Longer chains stop indenting before they leave the screen."""


def draw_answer(answer: Row, causes: Sequence[Row]) -> None:
    """Print the summary, the tree of causes, and under each cause without a deeper one what to try."""
    for line in wrapped(terminal.one_line(answer.get("summary") or ""), terminal.width()):
        print_line(line)
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
        terminal.write_text(f"{rest}try: {terminal.one_line(cause['next'])}\n")
    deeper = indent + STEP if len(indent) < DEEPEST_INDENT else indent
    for each in below:
        _draw(each, deeper)
