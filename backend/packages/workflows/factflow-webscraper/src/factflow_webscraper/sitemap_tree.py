"""A sitemap and everything that its indexes name, as one list of pages.

Indexes are followed level by level; a document is fetched once, whoever names it, so that indexes naming
themselves or each other end. What a child cannot give is noted; the pages of the others stand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from factflow_protocols.errors import AdapterError, PermanentError, TransientError
from factflow_webscraper.patterns import UrlFilter
from factflow_webscraper.robots import RobotsRules
from factflow_webscraper.sitemap_xml import (
    NotASitemapError,
    SitemapDocument,
    SitemapEntry,
    parse_sitemap,
)
from factflow_webscraper.urls import dedupe_key, same_site

_AT_ONCE = 4
_TRIES = 3
_MAX_PROBLEMS = 100
_INLINE_BYTES = 64 * 1024

FetchSitemap = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Returns final URL and body; raises `AdapterError`."""


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """How far a tree is followed. `max_depth` counts indexes: 0 reads the given document alone."""

    max_urls: int = 1000
    max_sitemaps: int = 500
    max_depth: int = 5
    same_host_only: bool = True


@dataclass(slots=True)
class SitemapTree:
    """What was found: pages in document order, each once; documents read; sentences about the rest."""

    pages: list[SitemapEntry] = field(default_factory=list)
    sitemaps: int = 0
    problems: list[str] = field(default_factory=list)
    truncated: bool = False
    foreign: int = 0
    unwanted: int = 0


@dataclass(frozen=True, slots=True)
class _Child:
    url: str
    depth: int
    tries: int = 1


class TreeReader:
    """Reads one tree; an instance serves once."""

    def __init__(self, fetch: FetchSitemap, limits: TreeLimits, wanted: UrlFilter) -> None:
        self._fetch = fetch
        self._limits = limits
        self._wanted = wanted
        self._tree = SitemapTree()
        self._hosts: list[str] = []
        self._seen_pages: set[str] = set()
        self._seen_sitemaps: set[str] = set()
        self._waiting: list[_Child] = []
        self._failures: list[AdapterError] = []
        self._unnoted = 0

    async def read(self, url: str) -> SitemapTree:
        """Read the tree below `url`: a sitemap, an index, a feed, or a robots.txt that names some.

        Raises the error of the given document, or of its children when none of them can be read.
        """
        self._seen_sitemaps.add(dedupe_key(url))
        self._hosts.append(url)
        final_url, body = await self._fetch(url)
        self._hosts.append(final_url)
        self._seen_sitemaps.add(dedupe_key(final_url))
        if final_url.endswith("/robots.txt"):
            self._from_robots(body, final_url)
        else:
            self._take(await _parse(body, final_url), 0)
        await self._follow()
        self._finish(url)
        return self._tree

    def _from_robots(self, body: bytes, url: str) -> None:
        named = RobotsRules(body, url).sitemaps()
        if not named:
            raise NotASitemapError(
                f"{url} names no sitemap (it has no usable 'Sitemap:' line)",
                hint="give the address of the sitemap itself",
            )
        self._queue([SitemapEntry(sitemap) for sitemap in named], depth=0)

    async def _follow(self) -> None:
        while self._waiting and not self._full():
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            results = await asyncio.gather(
                *(self._read_child(child) for child in batch), return_exceptions=True
            )
            for child, result in zip(batch, results, strict=True):
                if isinstance(result, TransientError) and child.tries < _TRIES:
                    self._waiting.append(_Child(child.url, child.depth, child.tries + 1))
                elif isinstance(result, AdapterError):
                    self._failures.append(result)
                    self._note(f"left out: {result.message}")
                elif isinstance(result, BaseException):
                    raise result
                else:
                    self._take(result, child.depth)

    async def _read_child(self, child: _Child) -> SitemapDocument:
        final_url, body = await self._fetch(child.url)
        self._seen_sitemaps.add(dedupe_key(final_url))
        if self._limits.same_host_only and not self._is_ours(final_url):
            raise PermanentError(f"{child.url} redirects to another host, {final_url}")
        return await _parse(body, final_url)

    def _take(self, document: SitemapDocument, depth: int) -> None:
        tree = self._tree
        tree.sitemaps += 1
        tree.truncated = tree.truncated or document.truncated
        for problem in document.problems:
            self._note(problem)
        for page in document.pages:
            key = dedupe_key(page.url)
            if key in self._seen_pages:
                continue
            if self._limits.same_host_only and not self._is_ours(page.url):
                tree.foreign += 1
            elif not self._wanted.wants(page.url):
                tree.unwanted += 1
            elif self._full():
                self._note_limit()
                return
            else:
                self._seen_pages.add(key)
                tree.pages.append(page)
        self._queue(document.sitemaps, depth + 1)

    def _queue(self, sitemaps: list[SitemapEntry], depth: int) -> None:
        for entry in sitemaps:
            key = dedupe_key(entry.url)
            if key in self._seen_sitemaps:
                continue
            self._seen_sitemaps.add(key)
            if self._limits.same_host_only and not self._is_ours(entry.url):
                self._tree.foreign += 1
                self._note(f"left out: the sitemap {entry.url}, as it is on another host")
            elif depth > self._limits.max_depth:
                self._leave_out(entry.url, f"more than max_depth={self._limits.max_depth} deep")
            elif self._tree.sitemaps + len(self._waiting) >= self._limits.max_sitemaps:
                self._leave_out(entry.url, f"over max_sitemaps={self._limits.max_sitemaps}")
            else:
                self._waiting.append(_Child(entry.url, depth))

    def _is_ours(self, url: str) -> bool:
        return any(same_site(url, host) for host in self._hosts)

    def _full(self) -> bool:
        return len(self._tree.pages) >= self._limits.max_urls

    def _note_limit(self) -> None:
        self._tree.truncated = True
        self._note(
            f"only the first {self._limits.max_urls} URLs are taken; raise max_urls for more"
        )

    def _leave_out(self, url: str, why: str) -> None:
        self._tree.truncated = True
        self._note(f"left out: the sitemap {url}, as it is {why}")

    def _note(self, problem: str) -> None:
        if len(self._tree.problems) < _MAX_PROBLEMS:
            self._tree.problems.append(problem)
        else:
            self._unnoted += 1

    def _finish(self, url: str) -> None:
        tree = self._tree
        if self._waiting and self._full() and not tree.truncated:
            self._note_limit()
        if tree.foreign:
            self._note(
                f"left out, as on another host than {url}: {tree.foreign}; take them with"
                " same_host_only: false"
            )
        if tree.unwanted:
            self._note(f"left out by include and exclude: {tree.unwanted}")
        if self._unnoted:
            tree.problems.append(f"{self._unnoted} more problems are not listed")
        if not tree.pages:
            self._explain_emptiness(url)

    def _explain_emptiness(self, url: str) -> None:
        """Raise when the emptiness is a mistake; a sitemap may also honestly list nothing."""
        tree = self._tree
        if self._failures and not tree.unwanted:
            first = self._failures[0]
            message = (
                f"none of the sitemaps below {url} can be used ({len(self._failures)} failed);"
                f" the first: {first.message}"
            )
            for failure in self._failures:
                if isinstance(failure, TransientError):
                    raise TransientError(
                        message, hint=first.hint, retry_after=failure.retry_after
                    ) from failure
            raise NotASitemapError(message, hint=first.hint) from first
        if tree.foreign and not tree.unwanted:
            raise NotASitemapError(
                f"everything that {url} lists is on other hosts ({tree.foreign} entries)",
                hint="set same_host_only: false if these hosts are meant",
            )
        if not tree.unwanted:
            self._note(f"{url} lists no pages")


async def _parse(body: bytes, url: str) -> SitemapDocument:
    if len(body) < _INLINE_BYTES and not body.startswith(b"\x1f\x8b"):
        return parse_sitemap(body, url)
    return await asyncio.to_thread(parse_sitemap, body, url)
