"""Stage `url_expander`: a list of URLs in, one message per URL out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)
from factflow_webscraper.patterns import Patterns, UrlFilter
from factflow_webscraper.urls import UrlRefusedError, dedupe_key, resolve


class URLExpanderConfig(AdapterConfigModel):
    """Settings of `url_expander`."""

    max_urls: int | None = Field(None, ge=1, description="URLs passed on; the rest is dropped")
    include: Patterns = Field((), description="regular expressions; some must match the URL")
    exclude: Patterns = Field((), description="regular expressions; none may match the URL")


@register_adapter_type("url_expander", config=URLExpanderConfig)
class URLExpanderAdapter:
    """Makes one message of every URL in a list.

    Takes what `sitemap_parser` returns, or `{"urls": [...]}` with URLs or `{"url": …}` objects. Each URL
    is brought into normal form and goes out once, as `{"url": …}`, under its URL as key, so that the
    same page has the same origin in every run. An empty list ends as filtered.
    """

    def __init__(self, config: URLExpanderConfig) -> None:
        self._config = config
        self._wanted = UrlFilter(config.include, config.exclude)

    async def process(self, context: PipelineContext) -> AdapterResult:
        """Return the children; raises `PermanentError` when no entry of a list is a usable URL."""
        entries = _entries(context.payload)
        refused: list[str] = []
        children = list(self._children(entries, refused))
        if refused and len(refused) == len(entries):
            raise PermanentError(
                f"none of the {len(entries)} URLs can be used; the first: {refused[0]}",
                hint="give absolute http or https URLs",
            )
        metadata: dict[str, Any] = {"urls_listed": len(entries), "urls_refused": refused[:20]}
        return AdapterResult(emitted=children, metadata=metadata if refused else {})

    def _children(self, entries: list[Any], refused: list[str]) -> Iterator[Emitted]:
        seen: set[str] = set()
        for entry in entries:
            given = entry.get("url") if isinstance(entry, dict) else entry
            try:
                url = resolve(given if isinstance(given, str) else "")
            except UrlRefusedError as error:
                refused.append(error.message)
                continue
            key = dedupe_key(url)
            if key in seen or not self._wanted.wants(url):
                continue
            if self._config.max_urls is not None and len(seen) >= self._config.max_urls:
                return
            seen.add(key)
            metadata = {"url": url}
            if isinstance(entry, dict) and isinstance(entry.get("lastmod"), str):
                metadata["lastmod"] = entry["lastmod"]
            yield Emitted({"url": url}, key=url, metadata=metadata)


def _entries(payload: Any) -> list[Any]:
    entries = payload.get("urls") if isinstance(payload, dict) else payload
    if not isinstance(entries, list):
        raise PermanentError(
            "url_expander was given no list of 'urls'",
            hint='put it behind sitemap_parser, or give {"urls": ["https://example.com/"]}',
        )
    return entries
