"""YAML text to plain data that knows its lines; hostile text costs little and is refused clearly.

The text is read as YAML 1.1 from PyYAML's event stream (libyaml where it is built in), not through its
constructors: events come lazily, so nesting, aliases and size are checked before anything is built.
Only what JSON can say is accepted: mappings with text keys, lists, texts, numbers, booleans, null. Dates
stay texts. Anchors, aliases and `<<` merges are resolved into copies.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from yaml.resolver import Resolver

from factflow_engine.config.issues import ConfigIssue, shorten
from factflow_engine.config.yaml_document import VALUE_WEIGHT, Node, YamlDocument, plain

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_EXPANDED = 2 << 20
"""Characters after aliases are expanded; every value counts `VALUE_WEIGHT` on top of its text."""
_MAX_NUMBER_LENGTH = 100

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null")}
_QUOTED = {"'", '"', "|", ">"}


def read_yaml(text: str) -> YamlDocument:
    """Read one document; every problem is an issue (E001 to E008), nothing is raised."""
    try:
        _check_text(text)
        reader = _Reader(text)
        root = reader.read()
    except _FatalError as fatal:
        return YamlDocument(None, (fatal.issue,))
    return YamlDocument(plain(root), tuple(reader.issues), root)


class _FatalError(Exception):
    """Reading cannot go on."""

    def __init__(self, code: str, line: int | None, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.issue = ConfigIssue("error", code, "", line, message, suggestion)


def _check_text(text: str) -> None:
    if len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        raise _FatalError(
            "E004", None, f"the text is larger than {MAX_BYTES >> 20} MiB", "split the pipeline"
        )
    bad = _UNPRINTABLE.search(text)
    if bad:
        raise _FatalError(
            "E001",
            text.count("\n", 0, bad.start()) + 1,
            f"the character U+{ord(bad[0]):04X} is not allowed in YAML",
            "remove it, or write it as an escape in double quotes",
        )


class _Reader:
    """Builds nodes from events with a stack of its own: depth is data here, not recursion."""

    def __init__(self, text: str) -> None:
        self.issues: list[ConfigIssue] = []
        self._text = text
        self._resolver = Resolver()
        self._constructor = SafeConstructor()
        self._anchors: dict[str, Node | None] = {}
        self._stack: list[_Frame] = []
        self._root: Node | None = None
        self._documents = 0

    def read(self) -> Node:
        try:
            for event in yaml.parse(self._text, Loader=_LOADER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            raise self._unreadable(error) from None
        except yaml.YAMLError as error:
            raise _FatalError(
                "E001", None, f"not readable as YAML: {shorten(str(error))}"
            ) from None
        if self._root is None:
            raise _FatalError(
                "E002", 1, "the text is empty", 'a pipeline starts with: version: "1.0"'
            )
        return self._root

    def _unreadable(self, error: yaml.MarkedYAMLError) -> _FatalError:
        lines = self._text.splitlines()
        mark = error.problem_mark or error.context_mark
        if mark and mark.line >= len(lines):  # the text ends too early: tell where it began
            mark = error.context_mark or mark
        line = mark.line + 1 if mark else 1
        if line > len(lines):
            line = self._stack[-1].node.line if self._stack else max(len(lines), 1)
        column = f" (column {mark.column + 1})" if mark else ""
        what = ", ".join(shorten(part) for part in (error.context, error.problem) if part)
        near = lines[line - 1] if lines else ""
        suggestion = "check indentation, colons and quotes on this line and the one before"
        if "\t" in near[: len(near) - len(near.lstrip())] or near.lstrip(" -").startswith("\t"):
            suggestion = "the line is indented with a tab: YAML allows spaces only"
        return _FatalError("E001", line, f"not readable as YAML: {what}{column}", suggestion)

    def _take(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            self._finish(self._scalar(event), event.anchor)
        elif isinstance(event, AliasEvent):
            self._finish(self._aliased(event), None)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._open(event)
        elif isinstance(event, CollectionEndEvent):
            frame = self._stack.pop()
            frame.close(self._issue)
            self._finish(frame.node, frame.anchor)
        elif isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _FatalError(
                    "E005", _line(event), "the text holds several documents", "remove the `---`"
                )

    def _open(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        mapping = isinstance(event, MappingStartEvent)
        if event.tag not in {None, "!", _TAG + ("map" if mapping else "seq")}:
            self._refuse_tag(event.tag, _line(event))
        if event.anchor:
            self._anchors[event.anchor] = None
        node = Node(_line(event), {} if mapping else [])
        self._stack.append(_Frame(node, event.anchor))
        if len(self._stack) > MAX_DEPTH:
            raise self._too_deep(node.line)

    def _aliased(self, event: AliasEvent) -> Node:
        anchor = event.anchor or ""
        target = self._anchors.get(anchor)
        if target is None:
            if anchor in self._anchors:
                problem = f"`*{shorten(anchor)}` stands inside the value it refers to"
                raise _FatalError("E004", _line(event), problem, "write the value out")
            problem = f"`*{shorten(anchor)}` refers to an anchor that is not defined before"
            raise _FatalError("E001", _line(event), problem)
        return target

    def _finish(self, node: Node, anchor: str | None) -> None:
        """Hand a complete value to what it stands in."""
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        frame.add(node, self._issue)
        if frame.node.weight > MAX_EXPANDED:
            raise _FatalError(
                "E004",
                frame.node.line,
                "the document holds, or its aliases expand to, too many values",
                "write fewer values, or fewer aliases inside of aliased values",
            )
        if frame.node.height > MAX_DEPTH:
            raise self._too_deep(frame.node.line)

    def _scalar(self, event: ScalarEvent) -> Node:
        line, value = _line(event), event.value
        tag = event.tag
        if tag is None:
            tag = self._resolver.resolve(yaml.ScalarNode, value, event.implicit)  # type: ignore[no-untyped-call]  # untyped in PyYAML
        elif tag != "!" and tag not in _SCALAR_TAGS:
            self._refuse_tag(tag, line)
        node = Node(line, value, weight=VALUE_WEIGHT + len(value))
        if event.style not in _QUOTED:
            node.raw = value
            node.merges = tag == _TAG + "merge"
        if tag in _SCALAR_TAGS:
            node.content = self._constructed(tag.removeprefix(_TAG), value, line)
        return node

    def _constructed(self, kind: str, value: str, line: int) -> Any:
        if kind == "str":
            return value
        if kind == "null":
            return None
        node = yaml.ScalarNode(_TAG + kind, value)
        try:
            if kind == "bool":
                return self._constructor.construct_yaml_bool(node)
            return _number(self._constructor, kind, node)
        except (ValueError, KeyError, IndexError, OverflowError, ConstructorError):
            self._issue(
                "E008",
                line,
                f"`{shorten(value, 40)}` is not a value of type {kind} that can be kept",
                "numbers are finite and whole ones fit into 64 bits; quote it if it is a text",
            )
            return 0

    def _refuse_tag(self, tag: str, line: int) -> None:
        self._issue(
            "E007",
            line,
            f"the tag `{shorten(tag.replace(_TAG, '!!'))}` is not allowed",
            "write a plain value",
        )

    def _issue(self, code: str, line: int, message: str, suggestion: str) -> None:
        self.issues.append(ConfigIssue("error", code, "", line, message, suggestion))

    def _too_deep(self, line: int) -> _FatalError:
        return _FatalError("E004", line, f"values are nested more than {MAX_DEPTH} levels deep")


_Issue = Callable[[str, int, str, str], None]


class _Frame:
    """A mapping or list that is still being read."""

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self._key: Node | None = None
        self._merged: list[Node] = []

    def add(self, child: Node, issue: _Issue) -> None:
        """Take a list's next item, or a mapping's next key or value."""
        self.node.weight += child.weight
        self.node.height = max(self.node.height, child.height + 1)
        if isinstance(self.node.content, list):
            self.node.content.append(child)
        elif self._key is None:
            self._key = child
        else:
            key, self._key = self._key, None
            self._put(key, child, issue)

    def _put(self, key: Node, child: Node, issue: _Issue) -> None:
        entries = self.node.content
        if key.merges:
            self._merged.append(child)
        elif not isinstance(key.content, str):
            issue("E006", key.line, *_odd_key(key))
        elif key.content in entries:
            first = entries[key.content][0]
            name = shorten(key.content)
            issue(
                "E003",
                key.line,
                f"the key `{name}` is already given in line {first}",
                "keep one of the two",
            )
        else:
            entries[key.content] = (key.line, child)

    def close(self, issue: _Issue) -> None:
        """Fill in what `<<` brings: a mapping's own keys win, then the first merged."""
        for merged in self._merged:
            sources = merged.content if isinstance(merged.content, list) else [merged]
            for source in sources:
                if isinstance(source.content, dict):
                    for name, entry in source.content.items():
                        self.node.content.setdefault(name, entry)
                else:
                    issue(
                        "E006",
                        merged.line,
                        "`<<` takes a mapping or a list of mappings",
                        "refer to an anchored mapping: <<: *name",
                    )


def _odd_key(key: Node) -> tuple[str, str]:
    if key.raw is None:
        return "a key is not a text", "keys are plain words"
    name = shorten(key.raw, 40)
    if isinstance(key.content, bool):
        return (
            f"the key `{name}` is read as the boolean {str(key.content).lower()} (YAML 1.1)",
            f'put it in quotes: "{name}":',
        )
    return f"the key `{name}` is not a text", f'put it in quotes: "{name}":'


def _number(constructor: SafeConstructor, kind: str, node: yaml.ScalarNode) -> int | float:
    if len(node.value) > _MAX_NUMBER_LENGTH:
        raise ValueError(node.value)
    if kind == "int":
        whole: int = constructor.construct_yaml_int(node)
        if not -(2**63) <= whole < 2**64:
            raise ValueError(node.value)
        return whole
    real: float = constructor.construct_yaml_float(node)
    if not math.isfinite(real):
        raise ValueError(node.value)
    return real


def _line(event: Event) -> int:
    """Return where an event begins; the parser marks every one."""
    return event.start_mark.line + 1 if event.start_mark else 1
