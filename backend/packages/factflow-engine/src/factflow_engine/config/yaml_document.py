"""A YAML text that has been read: its plain data, and where each value stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from factflow_engine.config.issues import ConfigIssue, PathParts

VALUE_WEIGHT = 16
"""What every value counts on top of its text, when a document's size is judged."""


@dataclass(slots=True)
class Node:
    """A value with its place. `content` is a scalar, a list of nodes, or a dict of (key line, node)."""

    line: int
    content: Any
    raw: str | None = None
    """A plain scalar as it is written."""
    weight: int = VALUE_WEIGHT
    height: int = 0
    merges: bool = False
    """A plain `<<` in the place of a key."""


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """What a text says. With a fatal issue `data` is None; otherwise what could be read."""

    data: Any
    issues: tuple[ConfigIssue, ...] = ()
    root: Node | None = None

    def line(self, path: PathParts) -> int | None:
        """Return the line of the deepest part of the path that exists; None without a document."""
        line = None
        for line, _ in self._walk(path):  # noqa: B007 - the last one counts
            pass
        return line

    def written(self, path: PathParts) -> str | None:
        """Return a plain (unquoted) scalar as it is written; None for anything else."""
        steps = list(self._walk(path))
        return steps[-1][1].raw if len(steps) == len(path) + 1 else None

    def _walk(self, path: PathParts) -> Iterator[tuple[int, Node]]:
        node = self.root
        if node is None:
            return
        yield node.line, node
        for part in path:
            content = node.content
            if isinstance(content, dict) and part in content:
                line, node = content[part]
            elif isinstance(content, list) and isinstance(part, int) and part < len(content):
                node = content[part]
                line = node.line
            else:
                return
            yield line, node


def plain(node: Node) -> Any:
    """Return a node's value without places; recursive: the reader bounds nesting."""
    if isinstance(node.content, dict):
        return {key: plain(child) for key, (_, child) in node.content.items()}
    if isinstance(node.content, list):
        return [plain(child) for child in node.content]
    return node.content
