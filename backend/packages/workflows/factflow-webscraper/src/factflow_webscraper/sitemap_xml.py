"""Sitemap documents, as the web really has them.

Read are XML sitemaps and sitemap indexes (sitemaps.org 0.9; foreign or missing namespaces as well),
RSS 1 and 2 and Atom feeds, and plain lists of URLs; each also as gzip, whatever its name says. What is
complete in a damaged document is kept, and the damage is noted. A document is hostile until shown
otherwise: no entity is expanded, no other document is read, and memory stays bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from factflow_protocols.errors import PermanentError
from factflow_webscraper.inflate import MAGIC, GzipDamagedError, Inflater, OutputLimitError
from factflow_webscraper.sitemap_events import (
    EntryDraft,
    ForeignDocumentError,
    MarkupBrokenError,
    read_entries,
)
from factflow_webscraper.urls import UrlRefusedError, dedupe_key, resolve, shorten

MAX_UNPACKED_BYTES = 64 * 1024 * 1024
"""The protocol allows 50 MiB for one sitemap."""
MAX_ENTRIES = 200_000
"""Entries read from one document; the protocol allows 50,000."""
_PIECE = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_W3C_DATE = re.compile(
    r"\d{4}(-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?\s*(Z|[+-]\d{2}:?\d{2})?)?)?)?"
)


class NotASitemapError(PermanentError):
    """The document holds no sitemap that could be used."""

    code = "not_a_sitemap"


@dataclass(frozen=True, slots=True)
class SitemapEntry:
    """One page or child sitemap: URL in normal form, `lastmod` as ISO 8601, language alternates."""

    url: str
    lastmod: str | None = None
    alternates: tuple[str, ...] = ()


@dataclass(slots=True)
class SitemapDocument:
    """What one document lists, in its order, each URL once.

    `problems` are sentences about what was left out; `truncated` says that entries are missing because
    the document breaks off or has more than `MAX_ENTRIES`.
    """

    pages: list[SitemapEntry] = field(default_factory=list)
    sitemaps: list[SitemapEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    truncated: bool = False


def parse_sitemap(data: bytes, url: str) -> SitemapDocument:
    """Read a document fetched from `url` (against which relative URLs are resolved).

    Raises `NotASitemapError` when it is something else, or when nothing in it can be used.
    """
    reading = _Reading(url)
    try:
        reading.read(data)
    except ForeignDocumentError as error:
        raise NotASitemapError(
            f"{url} is no sitemap: {error}",
            hint="open the URL in a browser; give the address of the XML sitemap, RSS or Atom feed",
        ) from error
    document = reading.document
    if reading.damage:
        document.truncated = True
        document.problems.insert(0, f"{url}: {reading.damage}; what stands before it is used")
        if not document.pages and not document.sitemaps:
            raise NotASitemapError(
                f"nothing in the sitemap {url} can be used: {reading.damage}",
                hint="validate the sitemap, or ask its owner to repair it",
            )
    return document


class _Reading:
    """One pass over one document."""

    def __init__(self, url: str) -> None:
        self.document = SitemapDocument()
        self.damage = ""
        self._url = url
        self._seen: set[tuple[bool, str]] = set()
        self._refused = 0
        self._without_url = 0
        self._example = ""

    def read(self, data: bytes) -> None:
        pieces = self._unpacked(data, levels=2)
        head = b""
        for piece in pieces:
            head += piece
            if len(head) >= 4096:
                break
        head = head.removeprefix(_BOM)
        if not head.startswith((b"\xff\xfe", b"\xfe\xff")):
            # Blanks before the XML declaration are an error in XML and common in sitemaps.
            head = head.lstrip().removeprefix(_BOM).lstrip()
        if not head:
            raise ForeignDocumentError(self.damage or "it is empty")
        if _looks_like_markup(head):
            self._read_markup(head, pieces)
        else:
            self._read_text(head, pieces)
        self._note_refusals()

    def _unpacked(self, data: bytes, levels: int) -> Iterator[bytes]:
        """Yield the document in pieces; damage of the gzip ends it and is noted."""
        if not (levels and data.startswith(MAGIC)):
            for start in range(0, len(data), _PIECE):
                yield data[start : start + _PIECE]
            return
        inflater = Inflater(MAX_UNPACKED_BYTES)
        try:
            pieces = inflater.feed(data)
            first = next(pieces, b"")
            if levels > 1 and first.startswith(MAGIC):  # packed twice, by a file and by a server
                yield from self._unpacked(b"".join([first, *pieces]), levels - 1)
                return
            yield first
            yield from pieces
            if not inflater.complete:
                self.damage = "its gzip data is cut off"
        except GzipDamagedError as error:
            self.damage = f"its gzip data is damaged ({error})"
        except OutputLimitError:
            self.damage = f"it unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MiB"

    def _read_markup(self, head: bytes, pieces: Iterator[bytes]) -> None:
        try:
            for draft in read_entries(head, pieces):
                if not self._add(draft):
                    return
        except MarkupBrokenError as error:
            self.damage = self.damage or str(error)

    def _read_text(self, head: bytes, pieces: Iterator[bytes]) -> None:
        encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
        text = b"".join([head, *pieces]).decode(encoding, "replace")
        if "\0" in text:
            raise ForeignDocumentError("it is binary data")
        if self.damage:
            text = text[: text.rfind("\n") + 1]  # the last line is possibly half a URL
        for line in re.finditer(r"[^\r\n]+", text):
            stripped = line[0].strip()
            if stripped.lower().startswith(("http://", "https://")) and " " not in stripped:
                if not self._add(EntryDraft(is_sitemap=False, url=stripped)):
                    break
            elif stripped and not stripped.startswith("#"):
                self._refused += 1
                self._example = self._example or f"{shorten(stripped)} is no URL"
                if self._refused > 1000 and not self.document.pages:
                    break
        if not self.document.pages and not self.damage:
            raise ForeignDocumentError("it is neither XML nor a list of URLs, one per line")

    def _add(self, draft: EntryDraft) -> bool:
        """Take an entry over; return False when no more are to be read."""
        document = self.document
        if not draft.url:
            self._without_url += 1
            return True
        try:
            url = resolve(draft.url, self._url)
        except UrlRefusedError as error:
            self._refused += 1
            self._example = self._example or error.message
            return True
        key = (draft.is_sitemap, dedupe_key(url))
        if key in self._seen:
            return True
        if len(self._seen) >= MAX_ENTRIES:
            document.truncated = True
            document.problems.append(f"{self._url}: only the first {MAX_ENTRIES} entries are read")
            return False
        self._seen.add(key)
        entry = SitemapEntry(url, _lastmod(draft.lastmod), self._alternates(draft))
        (document.sitemaps if draft.is_sitemap else document.pages).append(entry)
        return True

    def _alternates(self, draft: EntryDraft) -> tuple[str, ...]:
        found = []
        for reference in draft.alternates:
            try:
                found.append(resolve(reference, self._url))
            except UrlRefusedError:
                continue  # an alternate is an extra; the page itself stands
        return tuple(dict.fromkeys(found))

    def _note_refusals(self) -> None:
        problems = self.document.problems
        if self._without_url:
            problems.append(f"{self._url}: entries left out, as without URL: {self._without_url}")
        if self._refused:
            problems.append(
                f"{self._url}: entries left out: {self._refused}; the first: {self._example}"
            )


def _looks_like_markup(head: bytes) -> bool:
    """Tell whether the bytes begin with `<`, in any encoding XML starts in (XML 1.0, appendix F)."""
    bare = head.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"").lstrip()
    return bare.startswith(b"<")


def _lastmod(text: str) -> str | None:
    """Return a W3C date (or a feed's RFC 822 date) as ISO 8601, times in UTC; None when unusable."""
    text = text.strip()
    try:
        if _W3C_DATE.fullmatch(text):
            return _w3c(text)
        if len(text) < 64 and ":" in text and "," in text:
            from email.utils import parsedate_to_datetime

            return _utc(parsedate_to_datetime(text))
    except (ValueError, OverflowError):
        return None
    return None


def _w3c(text: str) -> str:
    if len(text) <= 10:
        datetime.strptime((text + "-01-01")[:10], "%Y-%m-%d").replace(tzinfo=UTC)
        return text
    # Python 3.11 reads fractions of 3 or 6 digits only.
    text = re.sub(r"\.(\d+)", lambda found: f".{found[1]:0<6.6}", text.replace(" ", "T", 1))
    return _utc(datetime.fromisoformat(re.sub(r"\s", "", text)))


def _utc(moment: datetime) -> str:
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")
