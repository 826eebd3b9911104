"""What the web throws back: each fails its own message with a reason, quickly and in bounded memory."""

from __future__ import annotations

from io import BufferedIOBase
from typing import Any

import pytest

from factflow_testing.server_process import ServerProcess
from factflow_testing.site_process import XML, Page, served_pages, sitemap_of

MIB = 1024 * 1024
LIMIT = 4 * MIB
PIPELINE = f"""
version: "1.0"
name: scrape
init_message: {{route: scrape, payload: {{sitemap_url: to be given}}}}
routes:
  scrape:
    inbound: {{queue: scrape}}
    adapters:
      - type: sitemap_parser
      - type: url_expander
      - type: web_scraper
        config: {{max_bytes: {LIMIT}}}
"""


def _failure(server: ServerProcess, execution_id: str) -> dict[str, Any]:
    """Wait for the execution to fail and return the one row that says why."""
    waited = server.cli("--timeout", "1m", "execution", "wait", execution_id)
    assert waited.code == 1
    rows = server.cli("lineage", "failures", "--execution", execution_id).done()["entries"]
    assert len(rows) == 1
    row: dict[str, Any] = rows[0]
    assert server.read(row["input_key"])
    return row


@pytest.mark.long
def test_a_page_of_300_mib_fails_at_the_limit_without_being_read_to_its_end(
    server: ServerProcess,
) -> None:
    sent = 0

    def write(stream: BufferedIOBase) -> None:
        nonlocal sent
        for _ in range(300):
            stream.write(b"x" * MIB)
            sent += 1

    pages = {"/big": Page(write=write), "/small": Page(b"<h1>Small</h1>")}
    before = server.peak_memory()
    with served_pages(pages) as site:
        pages["/sitemap.xml"] = Page(sitemap_of(f"{site}/big", f"{site}/small"), XML)
        execution = server.run(server.create(PIPELINE), sitemap_url=f"{site}/sitemap.xml")
        failed = _failure(server, execution)
    assert failed["metadata"]["url"] == f"{site}/big"
    assert f"larger than {LIMIT} bytes" in failed["error"]["message"]
    assert failed["attempts"] == 1
    assert sent < 100  # what the sockets between us hold, and no more
    assert server.peak_memory() - before < 64 * MIB
    scraped = server.rows(execution, stage="web_scraper", status="completed")
    assert [row["metadata"]["url"] for row in scraped] == [f"{site}/small"]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(b"<html><form>Log in: <input name=password></form></html>"), "HTML"),
        (Page(b"", XML), "empty"),
        (None, "404"),
    ],
    ids=["login page", "empty", "missing"],
)
def test_a_sitemap_that_is_none_says_what_it_is_instead(
    server: ServerProcess, page: Page | None, said: str
) -> None:
    with served_pages({"/sitemap.xml": page} if page else {}) as site:
        execution = server.run(server.create(PIPELINE), sitemap_url=f"{site}/sitemap.xml")
        failed = _failure(server, execution)
    assert failed["stage"] == "sitemap_parser"
    assert f"{site}/sitemap.xml" in failed["error"]["message"]
    assert said in failed["error"]["message"]


def test_a_private_address_is_refused_unless_the_server_was_told_otherwise(
    strict_server: ServerProcess,
) -> None:
    asked: list[BufferedIOBase] = []
    pages = {"/sitemap.xml": Page(content_type=XML, write=asked.append)}
    with served_pages(pages) as site:
        for url in (f"{site}/sitemap.xml", site.replace("127.0.0.1", "localhost") + "/sitemap.xml"):
            execution = strict_server.run(strict_server.create(PIPELINE), sitemap_url=url)
            failed = _failure(strict_server, execution)
            assert "127.0.0.1, which is private" in failed["error"]["message"]
            assert "--allow-private-networks" in failed["error"]["message"]
            assert failed["attempts"] == 1
    assert not asked


@pytest.mark.parametrize("url", ["file:///etc/passwd", "not a url", 7, None])
def test_an_address_that_is_none_fails_with_a_sentence(server: ServerProcess, url: Any) -> None:
    execution = server.run(server.create(PIPELINE), sitemap_url=url)
    failed = _failure(server, execution)
    assert failed["stage"] == "sitemap_parser"
    assert failed["error"]["message"]
    assert "root:" not in str(failed)
