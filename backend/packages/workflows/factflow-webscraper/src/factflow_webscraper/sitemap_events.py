"""Markup of sitemaps and feeds as a stream of entries.

The parser is lxml's pull parser without recovery: recovery would make up URLs from a cut-off end.
Every element is thrown away once its end was seen, so memory does not grow with the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

_ENTRIES = {
    # Outermost element: what its entries are called, and how deep they may stand.
    "urlset": ({"url", "sitemap"}, 2),
    "sitemapindex": ({"url", "sitemap"}, 2),
    "rss": ({"item"}, 3),
    "rdf": ({"item"}, 2),
    "feed": ({"entry"}, 2),
}
_EXTENSIONS = re.compile(r"sitemap-(image|video|news|mobile|pagemap)|/mrss|search\.yahoo\.com")
_MAX_ALTERNATES = 500
_MAX_LOOSE_NODES = 20_000
_MAX_ELEMENTS = 2_000_000
"""The protocol's 50,000 URLs with all their optional parts and a dozen languages stay below."""
_PIECE = 64 * 1024


class ForeignDocumentError(Exception):
    """The document is something else than a sitemap or feed; the message says what."""


class MarkupBrokenError(Exception):
    """The markup is wrong from here on; entries already given out are good."""


@dataclass(slots=True)
class EntryDraft:
    """An entry as it stands in the document, URL not yet checked ('' when it has none)."""

    is_sitemap: bool
    url: str = ""
    lastmod: str = ""
    alternates: list[str] = field(default_factory=list)


def read_entries(head: bytes, pieces: Iterator[bytes]) -> Iterator[EntryDraft]:
    """Yield the entries of a document that begins with `head` and goes on with `pieces`.

    Raises `ForeignDocumentError` before the first entry, `MarkupBrokenError` at any time.
    """
    parser = etree.XMLPullParser(
        events=("start", "end"),
        recover=False,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    state = _State(head)
    try:
        for start in range(0, len(head), _PIECE):
            parser.feed(head[start : start + _PIECE])
            yield from state.take(parser)
        for piece in pieces:
            parser.feed(piece)
            yield from state.take(parser)
        parser.close()
        yield from state.take(parser)
    except etree.XMLSyntaxError as error:
        yield from state.take(parser)
        if not state.rooted:
            raise ForeignDocumentError(_what_it_is(head, "")) from error
        line, column = error.position
        reason = (error.msg or "syntax error").partition(", line ")[0]
        raise MarkupBrokenError(
            f"its XML is broken at line {line}, column {column} ({reason})"
        ) from error


class _State:
    """Where in the document the parser is."""

    def __init__(self, head: bytes) -> None:
        self.rooted = False
        self._head = head
        self._depth = 0
        self._elements = 0
        self._entry: EntryDraft | None = None
        self._entry_depth = 0
        self._guid = ""
        self._names: set[str] = set()
        self._max_depth = 0
        self._open: list[etree._Element] = []

    def take(self, parser: etree.XMLPullParser) -> Iterator[EntryDraft]:
        """Work off the events the parser has ready."""
        for event, element in parser.read_events():
            if not isinstance(element, etree._Element):
                continue
            if event == "start":
                self._start(element)
            else:
                draft = self._end(element)
                if draft is not None:
                    yield draft
        if self._open and len(self._open[-1]) > _MAX_LOOSE_NODES:
            raise MarkupBrokenError("it holds masses of entity references")

    def _start(self, element: etree._Element) -> None:
        self._depth += 1
        self._elements += 1
        if self._elements > _MAX_ELEMENTS:
            raise MarkupBrokenError(f"it has more than {_MAX_ELEMENTS} elements")
        name = _name(element)
        if self._depth == 1:
            self._check_root(element, name)
        elif self._entry is None and name in self._names and self._depth <= self._max_depth:
            self._entry = EntryDraft(is_sitemap=name == "sitemap")
            self._entry_depth = self._depth
            self._guid = ""
        self._open.append(element)

    def _check_root(self, element: etree._Element, name: str) -> None:
        if name not in _ENTRIES:
            raise ForeignDocumentError(_what_it_is(self._head, name))
        self._names, self._max_depth = _ENTRIES[name]
        self.rooted = True
        dtd: Any = element.getroottree().docinfo.internalDTD
        if dtd is not None and any(True for _ in dtd.iterentities()):
            # Nobody needs entities in a sitemap; attackers do (expansion bombs, files of ours).
            raise MarkupBrokenError("it declares XML entities, which are not taken from outside")

    def _end(self, element: etree._Element) -> EntryDraft | None:
        draft = None
        if self._entry is not None:
            if self._depth == self._entry_depth:
                draft, self._entry = self._entry, None
                draft.url = draft.url or self._guid
            elif self._depth == self._entry_depth + 1:
                self._field(element, self._entry)
        self._depth -= 1
        self._open.pop()
        element.clear()
        parent = element.getparent()
        if parent is not None:
            while element.getprevious() is not None:
                del parent[0]
        return draft

    def _field(self, element: etree._Element, entry: EntryDraft) -> None:
        """Take over a direct child of an entry, if it is one that matters."""
        name, text = _name(element), (element.text or "").strip()
        space = str(element.tag).rpartition("}")[0]
        if _EXTENSIONS.search(space):
            return
        if name == "loc":
            # An entity that stands in a URL is unknown; half a URL would be an invention.
            entry.url = entry.url or ("" if len(element) else text)
        elif name in {"lastmod", "updated", "pubdate", "date"}:
            entry.lastmod = entry.lastmod or text
        elif name == "guid":
            if element.get("isPermaLink", "true") != "false" and text.startswith("http"):
                self._guid = text
        elif name == "link":
            self._link(element, entry, text, space)

    def _link(self, element: etree._Element, entry: EntryDraft, text: str, space: str) -> None:
        href, rel = element.get("href"), element.get("rel", "alternate")
        if "xhtml" in space:
            if href and rel == "alternate" and len(entry.alternates) < _MAX_ALTERNATES:
                entry.alternates.append(href)
        elif href is not None:
            if rel == "alternate":
                entry.url = entry.url or href
        elif not len(element):
            entry.url = entry.url or text


def _name(element: etree._Element) -> str:
    tag = str(element.tag)
    return tag[tag.rfind("}") + 1 :].lower()


def _what_it_is(head: bytes, root: str) -> str:
    """Return a sentence part that says what came instead of a sitemap."""
    start = head.replace(b"\0", b"")[:4096]
    if root == "html" or re.search(rb"<(!doctype\s+html|html|head|body)\b", start, re.IGNORECASE):
        found = re.search(rb"<title[^>]*>\s*([^<]{1,80})", start, re.IGNORECASE)
        title = " ".join(found[1].decode("utf-8", "replace").split()) if found else ""
        named = f" titled {title!r}" if title else ""
        return f"it is an HTML page{named}, perhaps a login or error page"
    if root:
        return f"it is XML, but its outermost element is <{root[:40]}>"
    return "its XML is broken before the first element"
