"""Keeps a page's nesting within what parsers do in linear time.

HTML parsers look through their stack of open elements for many start tags, clone open formatting
elements into every new block, and compare each attribute with those before it. Markup made for it
(or merely broken) thus costs quadratic time and memory. Here the stack of open elements is followed as
in the tree construction of the HTML standard (13.2.6, simplified), and tags too deep are left out; their
text stays.
"""

from __future__ import annotations

import re
from html import unescape

MAX_DEPTH = 150
"""Open elements allowed at once, those with an optional end tag not counted."""
MAX_FORMATTING = 12
"""Formatting elements (bold, font, …) allowed open at once."""
MAX_TAGS = 500_000
"""Start tags allowed; a parsed tag takes about 500 bytes of memory."""
MAX_ATTRIBUTE_WORDS = 1_000


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VOID = _names(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr"
)
_OPTIONAL_END = _names(
    "p li dt dd tr td th thead tbody tfoot caption colgroup option optgroup rb rp rt rtc html head body"
)
_FORMATTING = _names("a b big code em font i nobr s small strike strong tt u")
_BARRIERS = _names("table template applet marquee object svg math")
_ORDINARY = _FORMATTING | _names(
    """abbr acronym bdi bdo canvas cite data del dfn ins kbd label map mark meter output picture progress
    q ruby samp span sub sup time tt var video audio"""
)
_RAW = _names("script style textarea title xmp iframe noembed noframes")

_VALUE = r"""(?:"[^"]*(?:"|\Z)|'[^']*(?:'|\Z)|[^\s>"'][^\s>]*)?"""
_ATTRIBUTES = rf"((?:[\s/]+|[^\s/>][^\s/>=]*(?:\s*=\s*{_VALUE})?)*+)"
_COMMENT = r"!--(?:-?>|.*?(?:--!?>|\Z))|[!?][^>]*>?"
_MARKUP = re.compile(rf"<(?:{_COMMENT}|(/?)([a-zA-Z][^\s/>]*){_ATTRIBUTES}>?)", re.DOTALL)
_RAW_END = {name: re.compile(rf"</{name}(?=[\s/>])|\Z", re.IGNORECASE | re.ASCII) for name in _RAW}
_TAGS = re.compile(r"</?[a-zA-Z!?][^<>]*>?")
_SILENT = re.compile(
    r"<(script|style|head|template)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE
)


class TooMuchMarkupError(ValueError):
    """The page has more than `MAX_TAGS` start tags."""


class _OpenElements:
    """The stack of open elements, and what was left out of it."""

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._left_out: dict[str, int] = {}
        self._formatting = 0

    @property
    def foreign(self) -> bool:
        """Tell whether an SVG or MathML element is open."""
        return "svg" in self._stack or "math" in self._stack

    def open(self, name: str) -> bool:
        """Push an element; False when it must be left out."""
        if name in _VOID or name in _OPTIONAL_END:
            return True
        formatting = name in _FORMATTING
        if len(self._stack) >= MAX_DEPTH or (formatting and self._formatting >= MAX_FORMATTING):
            self._left_out[name] = self._left_out.get(name, 0) + 1
            return False
        self._formatting += formatting
        self._stack.append(name)
        return True

    def close(self, name: str) -> bool:
        """Pop up to the element if its end tag reaches it; False when its start was left out."""
        if self._left_out.get(name):
            self._left_out[name] -= 1
            return False
        if name in _FORMATTING and self._formatting:
            self._formatting -= 1
        for index in range(len(self._stack) - 1, -1, -1):
            other = self._stack[index]
            if other == name:
                del self._stack[index:]
                return True
            if other in _BARRIERS or (name in _ORDINARY and other not in _ORDINARY):
                return True
        return True


def flatten(html: str) -> str:
    """Return the page without the tags that nest too deep; the same string when there are none.

    Linear in the page's length. Raises `TooMuchMarkupError`.
    """
    html = html.replace("<![CDATA[", "")
    kept: list[str] = []
    kept_to = position = tags = 0
    elements = _OpenElements()
    while match := _MARKUP.search(html, position):
        position = match.end()
        name = match[2]
        if name is None:
            continue
        name = name.lower()
        if match[1]:
            keep = elements.close(name)
        else:
            tags += 1
            if tags > MAX_TAGS:
                raise TooMuchMarkupError(f"more than {MAX_TAGS} tags")
            keep = elements.open(name)
            if name in _RAW and not elements.foreign:
                end = _RAW_END[name].search(html, position)
                position = end.start() if end else len(html)
        attributes = match[3]
        overloaded = len(attributes) > 4096 and len(attributes.split()) > MAX_ATTRIBUTE_WORDS
        if not keep or overloaded:
            kept.append(html[kept_to : match.start()])
            kept.append(f"<{name}>" if keep and not match[1] else " ")
            kept_to = match.end()
    return "".join([*kept, html[kept_to:]]) if kept else html


def text_only(html: str) -> str:
    """Return the page's text by leaving out everything that looks like a tag: the last resort."""
    return unescape(_TAGS.sub(" ", _SILENT.sub(" ", html)))
