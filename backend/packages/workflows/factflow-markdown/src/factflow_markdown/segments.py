"""Cuts markdown into segments of bounded token counts that keep to the text's own sections.

A section is a heading with what follows up to the next one. Sections that are only a heading, or small,
go together with the next; a section that does not fit is cut at the seams markdown offers (blocks, then
rows and lines, then sentences), and its heading goes with its first piece.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from factflow_markdown.headings import Heading, Outline
from factflow_markdown.tokens import TokenCounter

_FENCE_LINE = re.compile(r"^[ \t>]*(?:```|~~~)", re.MULTILINE)
_JOIN_MARGIN = 2
"""Tokens that joining a heading and its first piece may cost beyond their sum."""


@dataclass(frozen=True, slots=True)
class SegmentLimits:
    """Token counts: `maximum` of a segment; below `minimum` neighbours are joined; `overlap` between
    pieces of one section."""

    maximum: int = 512
    minimum: int = 128
    overlap: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """`text` is the markdown's characters `start` to `end`. `heading_path` are the headings over its
    first line of text, outermost first; `place` numbers the segments that share a path from 0."""

    ordinal: int
    text: str
    heading_path: tuple[str, ...]
    place: int
    token_count: int
    start: int
    end: int


@dataclass(slots=True)
class _Span:
    start: int
    body: int
    """Where text begins after the headings at the span's start."""
    end: int


def segment_markdown(markdown: str, counter: TokenCounter, limits: SegmentLimits) -> list[Segment]:
    """Return the segments in the text's order; together they hold every character but white space.

    No segment has more than `limits.maximum` tokens, unless a single character has.
    """
    outline = Outline(markdown)
    spans = _Packing(markdown, counter, limits).pack(_sections(markdown, outline.headings))
    segments: list[Segment] = []
    seen: dict[tuple[str, ...], int] = {}
    for span in spans:
        start, end = _trimmed(markdown, span)
        if start == end:
            continue
        text = markdown[start:end]
        path = outline.path_at(_first_text(markdown, outline, start, end))
        place = seen[path] = seen.get(path, -1) + 1
        count = counter.count(text)
        segments.append(Segment(len(segments), text, path, place, count, start, end))
    return segments


def _sections(markdown: str, headings: list[Heading]) -> list[_Span]:
    sections = [_Span(0, 0, headings[0].start if headings else len(markdown))]
    for index, heading in enumerate(headings):
        end = headings[index + 1].start if index + 1 < len(headings) else len(markdown)
        sections.append(_Span(heading.start, heading.end, end))
    return [section for section in sections if not markdown[section.start : section.end].isspace()]


class _Packing:
    """Joins and cuts sections into spans that fit."""

    def __init__(self, markdown: str, counter: TokenCounter, limits: SegmentLimits) -> None:
        self._markdown = markdown
        self._counter = counter
        self._limits = limits
        self._done: list[_Span] = []
        self._open: _Span | None = None

    def pack(self, sections: list[_Span]) -> list[_Span]:
        """Return the spans in order."""
        for section in sections:
            if section.start != section.end:
                self._take(section)
        self._flush()
        self._join_tail()
        return self._done

    def _take(self, section: _Span) -> None:
        current = self._open
        if current is not None and self._has_text(current) and not self._is_small(current):
            self._flush()
            current = None
        if current is not None:
            joined = self._joined(current, section)
            if self._fits(joined):
                self._open = joined
                return
            if self._has_text(current):
                self._flush()
                current = None
        whole = self._joined(current, section) if current is not None else section
        if self._fits(whole):
            self._open = whole
        else:
            *done, self._open = self._cut(whole)
            self._done += done

    def _joined(self, first: _Span, second: _Span) -> _Span:
        body = first.body if self._has_text(first) else second.body
        return _Span(first.start, body, second.end)

    def _cut(self, span: _Span) -> list[_Span]:
        """Cut a span that does not fit; the headings at its start stay with its first piece."""
        head = self._markdown[span.start : span.body]
        half = self._limits.maximum // 2
        room = 0
        if head and self._counter.fits(head, half):
            room = self._limits.maximum - self._counter.count(head) - _JOIN_MARGIN
        while room >= half:
            pieces = self._pieces(span.body, span.end, room)
            if not pieces:
                break
            first = _Span(span.start, span.body, pieces[0].end)
            if self._fits(first):
                return [first, *self._rest(first, pieces)]
            room -= max(1, room // 10)
        return self._pieces(span.start, span.end, self._limits.maximum) or [span]

    def _rest(self, first: _Span, pieces: list[_Span]) -> list[_Span]:
        """Return what follows the first piece, cut anew where it may be larger than the first was."""
        begun = self._markdown[first.start : first.end]
        in_fence = sum(1 for _ in _FENCE_LINE.finditer(begun)) % 2
        if self._limits.overlap or in_fence or len(pieces) < 2:
            return pieces[1:]
        return self._pieces(first.end, pieces[-1].end, self._limits.maximum)

    def _pieces(self, start: int, end: int, limit: int) -> list[_Span]:
        overlap = min(self._limits.overlap, limit // 2)
        cuts = self._counter.cut(self._markdown[start:end], limit, overlap)
        return [_Span(start + first, start + first, start + last) for first, last in cuts]

    def _join_tail(self) -> None:
        """Join a small last span to the one before it."""
        if len(self._done) < 2:
            return
        before, last = self._done[-2:]
        joined = _Span(before.start, before.body, last.end)
        small = self._is_small(last) or not self._has_text(last)
        if small and last.start >= before.end and self._fits(joined):
            self._done[-2:] = [joined]

    def _flush(self) -> None:
        if self._open is not None:
            self._done.append(self._open)
            self._open = None

    def _has_text(self, span: _Span) -> bool:
        return bool(self._markdown[span.body : span.end].strip())

    def _is_small(self, span: _Span) -> bool:
        return self._counter.fits(self._markdown[span.start : span.end], self._limits.minimum - 1)

    def _fits(self, span: _Span) -> bool:
        text = self._markdown[span.start : span.end].strip()
        return self._counter.fits(text, self._limits.maximum)


def _trimmed(markdown: str, span: _Span) -> tuple[int, int]:
    """Return the span without white space around; the first line keeps its indentation."""
    text = markdown[span.start : span.end]
    end = span.start + len(text.rstrip())
    lead = len(text) - len(text.lstrip())
    newline = text.rfind("\n", 0, lead)
    start = span.start + (newline + 1 if newline != -1 else 0)
    return min(start, end), end


def _first_text(markdown: str, outline: Outline, start: int, end: int) -> int:
    """Return the offset of the first text in a segment that is no heading; its end if there is none."""
    for heading in outline.from_offset(start):
        if heading.start >= end or markdown[start : heading.start].strip():
            break
        start = heading.end
    return min(start, end - 1)
