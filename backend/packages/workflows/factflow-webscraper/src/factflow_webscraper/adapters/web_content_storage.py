"""Stage `web_content_storage`: the page as a document with an identity."""

from __future__ import annotations

import hashlib

from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)
from factflow_webscraper.urls import dedupe_key, resolve


class WebContentStorageConfig(AdapterConfigModel):
    """Settings of `web_content_storage`: none."""


@register_adapter_type("web_content_storage", config=WebContentStorageConfig)
class WebContentStorageAdapter:
    """Keeps a scraped page as a document: stable id, URL, title and content hash.

    The engine stores every stage's output; what this stage adds is the identity of the document.
    `document_id` depends on the final URL alone and is the same in every run, so that a page reached by
    two addresses is one document; `content_hash` (SHA-256 of the UTF-8 text) tells whether it changed.
    `document_url` is that URL, `title` falls back to it. The page itself is passed on unchanged.
    """

    def __init__(self, config: WebContentStorageConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        """Return the page with its document metadata; raises `PermanentError` without page or URL."""
        page = context.payload
        if not isinstance(page, (str, bytes)):
            raise PermanentError(
                "web_content_storage was given no page (text), but"
                f" {type(page).__name__} from the stage before",
                hint="put it behind web_scraper",
            )
        given = context.metadata.get("final_url") or context.metadata.get("url")
        if not isinstance(given, str):
            raise PermanentError(
                "web_content_storage does not know the page's URL: the message has no metadata"
                " 'final_url' or 'url'",
                hint="put it behind web_scraper",
            )
        url = resolve(given)
        data = page.encode("utf-8", "surrogatepass") if isinstance(page, str) else page
        metadata = {
            "document_id": document_id(url),
            "document_url": url,
            "title": str(context.metadata.get("title") or url),
            "content_hash": hashlib.sha256(data).hexdigest(),
        }
        return AdapterResult(page, metadata=metadata, content_type=context.content_type)


def document_id(url: str) -> str:
    """Return the id of the document at a URL in normal form: 32 hex digits, the same for ever."""
    return hashlib.sha256(dedupe_key(url).encode()).hexdigest()[:32]
