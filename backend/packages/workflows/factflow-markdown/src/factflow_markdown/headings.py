"""Finds the headings of a markdown text, with their places.

ATX (`## Title`) and setext (underlined) headings as CommonMark 0.31 has them, outside fenced code,
indented code and a YAML front block. One pass over the lines.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

LONGEST_TEXT = 300
"""Headings travel in the metadata of every segment below them."""

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}|~{3,})(.*)")
_CONTAINER = re.compile(r" {0,3}(?:[-*+][ \t]|\d{1,9}[.)][ \t]|>|\||<)")
_BREAK = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}")
_INDENTED = re.compile(r" {4}|\t")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")
_EMPHASIS = re.compile(r"(\*{1,3}|~~|==)(?=\S)([^*~=]*)(?<=\S)\1")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: `level` 1 to 6, `text` without markup, and the characters `start` to `end` it takes
    (its whole lines, the last line end included)."""

    level: int
    text: str
    start: int
    end: int


def find_headings(markdown: str) -> list[Heading]:
    """Return the headings in their order, with texts of at most `LONGEST_TEXT` characters."""
    return list(_scan(markdown))


class Outline:
    """A text's headings, and which of them stand over a place."""

    def __init__(self, markdown: str) -> None:
        self.headings = find_headings(markdown)
        self._starts = [heading.start for heading in self.headings]
        self._paths: list[tuple[str, ...]] = []
        path: list[Heading] = []
        for heading in self.headings:
            while path and path[-1].level >= heading.level:
                path.pop()
            path.append(heading)
            self._paths.append(tuple(one.text for one in path))

    def path_at(self, offset: int) -> tuple[str, ...]:
        """Return the texts of the headings over an offset, outermost first; one that starts there counts."""
        index = bisect_right(self._starts, offset)
        return self._paths[index - 1] if index else ()

    def from_offset(self, offset: int) -> Iterator[Heading]:
        """Yield the headings that start at the offset or after it."""
        return islice(self.headings, bisect_left(self._starts, offset), None)


def plain_text(inline: str) -> str:
    """Return a heading's markdown without links, emphasis, code marks and escapes."""
    text = _LINK.sub(r"\1", inline)  # twice: an image may be inside a link
    text = _LINK.sub(r"\1", text)
    text = _EMPHASIS.sub(r"\2", text)
    text = " ".join(_ESCAPE.sub(r"\1", text.replace("`", "")).split())
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _scan(markdown: str) -> Iterable[Heading]:
    fence = ""
    paragraph = _Paragraph()
    for start, end, line in _lines(markdown):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1].startswith(fence) and not opened[2].strip():
                fence = ""
        elif opened and not ("`" in opened[1] and "`" in opened[2]):
            fence = opened[1]
            paragraph.end()
        elif atx := _ATX.fullmatch(line):
            yield Heading(len(atx[1]), plain_text(_without_closing(atx[2] or "")), start, end)
            paragraph.end()
        elif paragraph.lines and (underline := _UNDERLINE.fullmatch(line)):
            level = 1 if underline[1][0] == "=" else 2
            yield Heading(level, plain_text(" ".join(paragraph.lines)), paragraph.start, end)
            paragraph.end()
        else:
            paragraph.take(start, line)


class _Paragraph:
    """The lines that an underline would make a heading."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.start = 0
        self._contained = False

    def end(self) -> None:
        self.lines = []
        self._contained = False

    def take(self, start: int, line: str) -> None:
        """Add a line, or end the paragraph. A line right below a list item or quote belongs to it."""
        if not line.strip() or _BREAK.fullmatch(line):
            self.end()
        elif _CONTAINER.match(line):
            self.lines = []
            self._contained = True
        elif self.lines:
            self.lines.append(line.strip())
        elif not self._contained and not _INDENTED.match(line):
            self.lines, self.start = [line.strip()], start


def _without_closing(text: str) -> str:
    """Drop the closing run of `#` that an ATX heading may have."""
    text = text.rstrip()
    bare = text.rstrip("#")
    return bare if not bare or bare[-1] in " \t" else text


def _lines(markdown: str) -> Iterable[tuple[int, int, str]]:
    """Yield start, end and text of each line after a YAML front block."""
    position = _after_front_matter(markdown)
    while position < len(markdown):
        end = markdown.find("\n", position) + 1 or len(markdown)
        yield position, end, markdown[position:end].rstrip("\r\n")
        position = end


def _after_front_matter(markdown: str) -> int:
    if not markdown.startswith("---\n"):
        return 0
    end = markdown.find("\n---\n", 3)
    return end + 5 if end != -1 else 0
