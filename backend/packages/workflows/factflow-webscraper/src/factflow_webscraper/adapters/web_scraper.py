"""Stage `web_scraper`: a URL in, the page's HTML and what is known about it out."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import Field

from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import (
    AdapterEnvironment,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)
from factflow_webscraper.charset import DecodedText, decode
from factflow_webscraper.fetching import Fetched
from factflow_webscraper.page import PageFacts, page_facts
from factflow_webscraper.responses import ContentRefusedError, media_type
from factflow_webscraper.session import ScrapeSession
from factflow_webscraper.settings import FetchSettings
from factflow_webscraper.urls import resolve

_INLINE_BYTES = 512 * 1024
_BINARY = (b"%PDF-", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"\x1f\x8b")


class WebScraperSettings(FetchSettings):
    """Settings of `web_scraper`."""

    content_types: tuple[str, ...] = Field(
        ("text/html", "application/xhtml+xml", "text/plain"),
        description="taken; 'text/*' stands for all text, an empty list for everything that is text",
    )


@register_adapter_type("web_scraper", config=WebScraperSettings)
class WebScraperAdapter:
    """Fetches a web page, politely, and returns its HTML as text.

    Takes `{"url": …}`. Returns the decoded page as `text/html; charset=utf-8` with metadata: `url`,
    `final_url`, `redirects`, `status`, `title`, `language`, `charset` (as found), `content_type`,
    `fetched_at` (ISO 8601, UTC), `etag`, `last_modified`, `bytes` (of the body).

    Asks robots.txt, keeps to each host's pace and obeys `Retry-After`. Fails for good on 4xx, private
    addresses, pages too large or of another type, and what robots.txt disallows; 408, 425, 429, 5xx,
    time-outs and broken or cut-off answers are worth another attempt.
    """

    def __init__(self, config: WebScraperSettings) -> None:
        self._config = config
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
        """Return the page; raises `PermanentError` or `TransientError`."""
        if self._session is None:
            raise RuntimeError("web_scraper was not opened")
        answer = await self._session.fetch(
            _url(context.payload),
            self._config.fetch_limits(self._config.content_types),
            self._config.pace_limits(),
            respect_robots=self._config.respect_robots,
        )
        if answer.body.startswith(_BINARY):
            raise ContentRefusedError(
                f"{answer.final_url} is binary data, not a page of text",
                hint="exclude such URLs",
            )
        if len(answer.body) < _INLINE_BYTES:
            text, facts = _read(answer)
        else:
            text, facts = await asyncio.to_thread(_read, answer)
        kind = "text/plain" if media_type(answer.headers) == "text/plain" else "text/html"
        return AdapterResult(
            text.text,
            metadata=_metadata(answer, text, facts),
            content_type=f"{kind}; charset=utf-8",
        )


def _url(payload: Any) -> str:
    given = payload.get("url") if isinstance(payload, dict) else payload
    if not isinstance(given, str) or not given.strip():
        raise PermanentError(
            "web_scraper was given no 'url'",
            hint='put it behind url_expander, or give {"url": "https://example.com/"}',
        )
    return resolve(given)


def _read(answer: Fetched) -> tuple[DecodedText, PageFacts]:
    text = decode(answer.body, answer.headers.get("content-type", ""))
    if media_type(answer.headers) == "text/plain":
        return text, PageFacts("", None)
    return text, page_facts(text.text)


def _metadata(answer: Fetched, text: DecodedText, facts: PageFacts) -> dict[str, Any]:
    headers = answer.headers
    found = {
        "url": answer.url,
        "final_url": answer.final_url,
        "redirects": list(answer.redirects),
        "status": answer.status,
        "title": facts.title,
        "language": facts.language,
        "charset": text.charset,
        "charset_damaged": text.damaged or None,
        "content_type": headers.get("content-type"),
        "fetched_at": answer.fetched_at,
        "etag": headers.get("etag"),
        "last_modified": headers.get("last-modified"),
        "bytes": len(answer.body),
    }
    return {key: value for key, value in found.items() if value is not None}
