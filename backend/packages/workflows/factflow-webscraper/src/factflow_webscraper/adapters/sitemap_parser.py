"""Stage `sitemap_parser`: the address of a sitemap in, its list of pages out."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import (
    AdapterEnvironment,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)
from factflow_webscraper.patterns import Patterns, UrlFilter
from factflow_webscraper.responses import HttpStatusError
from factflow_webscraper.session import ScrapeSession
from factflow_webscraper.settings import FetchSettings
from factflow_webscraper.sitemap_tree import SitemapTree, TreeLimits, TreeReader
from factflow_webscraper.sitemap_xml import MAX_UNPACKED_BYTES, SitemapEntry
from factflow_webscraper.urls import resolve


class SitemapParserConfig(FetchSettings):
    """Settings of `sitemap_parser`."""

    max_urls: int = Field(1000, ge=1, description="pages taken; the rest is noted as truncated")
    max_sitemaps: int = Field(500, ge=1, description="documents read in one tree of indexes")
    max_depth: int = Field(5, ge=0, description="levels of indexes followed; 0 follows none")
    same_host_only: bool = Field(
        True, description="leave out pages and sitemaps on other hosts (www. and http/https aside)"
    )
    include: Patterns = Field((), description="regular expressions; some must match the URL")
    exclude: Patterns = Field((), description="regular expressions; none may match the URL")
    max_bytes: int = Field(MAX_UNPACKED_BYTES, gt=0, description="largest sitemap in bytes")


@register_adapter_type("sitemap_parser", config=SitemapParserConfig)
class SitemapParserAdapter:
    """Fetches a sitemap, follows its indexes and lists the pages.

    Takes `{"sitemap_url": …}` (or `{"url": …}`): an XML sitemap or index, gzip or not, a text list, an
    RSS or Atom feed, or a robots.txt that names sitemaps. Returns `{"sitemap_url", "urls": [{"url",
    "lastmod"?, "alternates"?}], "sitemaps": documents read, "problems": [sentence], "truncated"}`.

    A damaged sitemap gives what is complete in it. Fails when the address gives no sitemap (a login
    page, a 404), when nothing in it can be used, or when all sitemaps of an index fail.
    """

    def __init__(self, config: SitemapParserConfig) -> None:
        self._config = config
        self._wanted = UrlFilter(config.include, config.exclude)
        self._session: ScrapeSession | None = None
        self._environment: AdapterEnvironment | None = None

    async def open(self, environment: AdapterEnvironment) -> None:
        """Join the execution's scraping session."""
        self._environment = environment
        self._session = ScrapeSession.join(environment)

    async def close(self) -> None:
        """Leave it."""
        session, self._session = self._session, None
        if session is not None and self._environment is not None:
            await session.leave(self._environment)

    async def process(self, context: PipelineContext) -> AdapterResult:
        """Return the pages; raises `PermanentError` or `TransientError`."""
        if self._session is None:
            raise RuntimeError("sitemap_parser was not opened")
        url = _sitemap_url(context.payload)
        config = self._config
        limits = TreeLimits(
            config.max_urls, config.max_sitemaps, config.max_depth, config.same_host_only
        )
        tree = await TreeReader(self._fetch, limits, self._wanted).read(url)
        return AdapterResult(_payload(url, tree), metadata={"sitemap_url": url})

    async def _fetch(self, url: str) -> tuple[str, bytes]:
        if self._session is None:
            raise RuntimeError("sitemap_parser was closed")
        try:
            answer = await self._session.fetch(
                url,
                self._config.fetch_limits(()),
                self._config.pace_limits(),
                respect_robots=self._config.respect_robots and not url.endswith("/robots.txt"),
            )
        except HttpStatusError as error:
            raise HttpStatusError(
                f"the sitemap cannot be had: {error.message}",
                hint="check its address; a site's robots.txt often names its sitemaps",
            ) from error
        return answer.final_url, answer.body


def _sitemap_url(payload: Any) -> str:
    given = payload
    if isinstance(payload, dict):
        given = payload.get("sitemap_url") or payload.get("url")
    if not isinstance(given, str) or not given.strip():
        raise PermanentError(
            "sitemap_parser was given no 'sitemap_url'",
            hint='give the init payload {"sitemap_url": "https://example.com/sitemap.xml"}',
        )
    return resolve(given)


def _payload(url: str, tree: SitemapTree) -> dict[str, Any]:
    return {
        "sitemap_url": url,
        "urls": [_entry(page) for page in tree.pages],
        "sitemaps": tree.sitemaps,
        "problems": tree.problems,
        "truncated": tree.truncated,
    }


def _entry(page: SitemapEntry) -> dict[str, Any]:
    entry: dict[str, Any] = {"url": page.url}
    if page.lastmod:
        entry["lastmod"] = page.lastmod
    if page.alternates:
        entry["alternates"] = list(page.alternates)
    return entry
