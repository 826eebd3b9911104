"""A real documentation site, served on loopback, comes through byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from factflow_protocols.pipeline import AdapterEnvironment, AdapterResult, PipelineContext
from factflow_webscraper.adapters.sitemap_parser import SitemapParserAdapter, SitemapParserConfig
from factflow_webscraper.adapters.url_expander import URLExpanderAdapter, URLExpanderConfig
from factflow_webscraper.adapters.web_content_storage import (
    WebContentStorageAdapter,
    WebContentStorageConfig,
)
from factflow_webscraper.adapters.web_scraper import WebScraperAdapter, WebScraperSettings

_given = os.environ.get("FACTFLOW_CORPUS")
CORPUS = Path(_given) if _given else Path(__file__).resolve().parents[6] / "shared" / "corpus"

pytestmark = pytest.mark.skipif(
    not (CORPUS / "serve_site.py").is_file(), reason=f"no corpus at {CORPUS}"
)


@pytest.fixture
async def site() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CORPUS / "serve_site.py"),
        str(CORPUS / "site-a"),
        "--port",
        "0",
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    facts = json.loads(await process.stdout.readline())
    yield facts["base"]
    process.terminate()
    await process.wait()


async def test_all_pages_of_the_sitemap_arrive_unharmed(
    site: str, environment: AdapterEnvironment
) -> None:
    manifest = json.loads((CORPUS / "site-a" / "manifest.json").read_text())
    wanted = {page["url_path"]: page for page in manifest if page["in_sitemap"]}
    parser = SitemapParserAdapter(SitemapParserConfig())
    scraper = WebScraperAdapter(WebScraperSettings(max_concurrency_per_host=8))
    await parser.open(environment)
    await scraper.open(environment)
    try:
        listed = await parser.process(PipelineContext({"sitemap_url": f"{site}/sitemap.xml"}))
        expanded = await URLExpanderAdapter(URLExpanderConfig()).process(
            PipelineContext(listed.payload)
        )
        children: Any = expanded.emitted
        results = await asyncio.gather(
            *(scraper.process(PipelineContext(child.payload)) for child in children)
        )
    finally:
        await scraper.close()
        await parser.close()
    assert len(wanted) == 70
    found = {urlsplit(str(result.metadata["final_url"])).path: result for result in results}
    assert set(found) == set(wanted)
    for path, result in found.items():
        _same_page(result, wanted[path])
    documents = [await _document(result) for result in results]
    assert len({document.metadata["document_id"] for document in documents}) == 70


def _same_page(result: AdapterResult, page: dict[str, Any]) -> None:
    body = result.payload.encode()
    assert hashlib.sha256(body).hexdigest() == page["sha256"]
    assert result.metadata["bytes"] == page["bytes"] == len(body)
    assert result.metadata["title"] == " ".join(page["title"].split())
    assert result.metadata["language"] == page["html_lang"]


async def _document(result: AdapterResult) -> AdapterResult:
    adapter = WebContentStorageAdapter(WebContentStorageConfig())
    return await adapter.process(
        PipelineContext(result.payload, result.metadata, content_type="text/html")
    )
