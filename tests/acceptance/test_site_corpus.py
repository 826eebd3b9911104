"""A real documentation site goes in: nothing is lost, and nothing is fetched twice."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

from factflow_testing.server_process import ServerProcess
from factflow_testing.site_process import CorpusSite, corpus_site, planned_faults

FLOOR = 0.99
"""Share of the authors' headings, code blocks and link texts that the stored markdown has."""
ONCE_FOR_EACH_PAGE = ("web_content_storage", "html_to_markdown", "smart_segmenter")
BEHIND_THE_SCRAPER = (*ONCE_FOR_EACH_PAGE, "markdown_storage_writer")
FAULTS = ("--fail-rate", "0.05", "--flaky", "1", "--reset-rate", "0.02", "--retry-after", "")
QUICK_RETRIES = """
version: "1.0"
name: scrape
init_message: {route: scrape, payload: {sitemap_url: to be given}}
error_handling: {max_retries: 2, retry_delay_seconds: 0.05}
routes:
  scrape:
    inbound: {queue: sitemap, concurrency: 8}
    adapters:
      - type: sitemap_parser
      - type: url_expander
      - type: web_scraper
        config: {timeout: 20, max_concurrency_per_host: 8}
    outbound: {queue: pages}
  convert:
    inbound: {queue: pages}
    adapters:
      - type: html_to_markdown
"""

Manifest = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def pages(corpus: Path) -> Manifest:
    """The 70 pages of the sitemap, by path."""
    manifest = json.loads((corpus / "site-a" / "manifest.json").read_text())
    found = {page["url_path"]: page for page in manifest if page["in_sitemap"]}
    assert len(found) == 70
    return found


def _measuring_code() -> ModuleType:
    """Load the measures that the markdown package's own corpus test uses."""
    repository = Path(__file__).resolve().parents[2]
    path = repository / "backend/packages/workflows/factflow-markdown/tests/corpus_report.py"
    spec = importlib.util.spec_from_file_location("acceptance_corpus_report", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _by_path(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return rows by the path of their page; fails when a page comes up twice."""
    found = {urlsplit(row["metadata"]["url"]).path: row for row in rows}
    assert len(found) == len(rows)
    return found


def _outputs(server: ServerProcess, execution_id: str) -> dict[tuple[str, str], str]:
    """Return the hash of what every stage behind the scraper made, by stage and origin."""
    return {
        (stage, row["origin_id"]): row["output_hash"]
        for stage in BEHIND_THE_SCRAPER
        for row in server.rows(execution_id, stage=stage)
    }


def _asked_pages(site: CorpusSite) -> list[str]:
    """Return the paths of the pages asked for so far."""
    return [path for path in site.requests() if path not in {"/sitemap.xml", "/robots.txt"}]


@pytest.mark.long
def test_a_whole_site_arrives_and_is_replayed_without_fetching_a_page(
    server: ServerProcess, corpus: Path, pages: Manifest, shipped_pipeline: Path, tmp_path: Path
) -> None:
    config = server.cli("config", "create", "-f", shipped_pipeline).done()["id"]
    with corpus_site(corpus, tmp_path / "access.jsonl") as site:
        started = server.cli("config", "run", config, "--init", f"sitemap_url={site.sitemap}")
        source = started.done()["execution_id"]
        waited = server.cli("--timeout", "5m", "execution", "wait", source)
        assert waited.done()["status"] == "completed"
        assert waited.json["failed_count"] == 0
        _every_page_is_stored_once_as_it_was_served(server, source, pages)
        _the_markdown_has_what_the_authors_wrote(server, source, corpus, pages)

        asked = site.requests()
        assert Counter(_asked_pages(site)) == dict.fromkeys(pages, 1)
        replay = server.cli("execution", "replay", source, "--from-stage", "web_scraper", "--wait")
        assert replay.done()["status"] == "completed"
        assert "web_scraper is not run again for 70 messages" in replay.err
        assert site.requests() == asked
    again = _outputs(server, replay.json["execution_id"])
    assert len(again) > 70 * len(BEHIND_THE_SCRAPER)
    assert again == _outputs(server, source)


def _every_page_is_stored_once_as_it_was_served(
    server: ServerProcess, execution_id: str, pages: Manifest
) -> None:
    scraped = _by_path(server.rows(execution_id, stage="web_scraper"))
    assert scraped.keys() == pages.keys()
    for path, row in scraped.items():
        assert (row["status"], row["outcome"]) == ("completed", "stored")
        assert hashlib.sha256(server.read(row["output_key"])).hexdigest() == pages[path]["sha256"]
    for stage in ONCE_FOR_EACH_PAGE:
        assert _by_path(server.rows(execution_id, stage=stage)).keys() == pages.keys()
    segments = server.rows(execution_id, stage="markdown_storage_writer")
    assert {urlsplit(row["metadata"]["url"]).path for row in segments} == pages.keys()
    assert {row["outcome"] for row in segments} == {"stored"}


def _the_markdown_has_what_the_authors_wrote(
    server: ServerProcess, execution_id: str, corpus: Path, pages: Manifest
) -> None:
    report = _measuring_code()
    wanted: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for path, row in _by_path(server.rows(execution_id, stage="html_to_markdown")).items():
        if "source_md" not in pages[path]:
            continue  # one page of the sitemap was generated from no file
        author = (corpus / "site-a" / pages[path]["source_md"]).read_text()
        ours = report.structure(server.read(row["output_key"]).decode())
        for kind, parts in report.structure(report.author_markdown(author)).items():
            wanted[kind] += parts.total()
            missing[kind] += (parts - ours[kind]).total()
    assert wanted["headings"] > 1000
    for kind, total in wanted.items():
        assert 1 - missing[kind] / total >= FLOOR, f"{missing[kind]} of {total} {kind} are missing"


def test_exactly_the_broken_pages_fail_and_a_replay_finishes_them_once_the_site_is_well(
    server: ServerProcess, corpus: Path, pages: Manifest, tmp_path: Path
) -> None:
    plan = {path: fault for path, fault in planned_faults(corpus, *FAULTS).items() if path in pages}
    broken = {path for path, fault in plan.items() if fault["times"] is None}
    flaky = plan.keys() - broken
    assert broken
    assert flaky
    config = server.create(QUICK_RETRIES)
    with corpus_site(corpus, tmp_path / "faulty.jsonl", *FAULTS) as site:
        source = server.run(config, sitemap_url=site.sitemap)
        waited = server.cli("--timeout", "5m", "execution", "wait", source)
        assert waited.code == 1
        assert (waited.json["status"], waited.json["failed_count"]) == ("failed", len(broken))
    rows = _by_path(server.rows(source, stage="web_scraper"))
    assert {path for path, row in rows.items() if row["status"] == "failed"} == broken
    assert rows.keys() == pages.keys()
    assert {rows[path]["attempts"] for path in flaky} == {2}
    _failures_name_page_and_error(server, source, broken, plan)

    with corpus_site(corpus, tmp_path / "well.jsonl", port=site.port) as well:
        replay = server.cli("execution", "replay", source, "--from-stage", "web_scraper", "--wait")
        assert replay.done()["status"] == "completed"
        assert Counter(_asked_pages(well)) == dict.fromkeys(broken, 1)
        assert "/sitemap.xml" not in well.requests()
    converted = server.rows(replay.json["execution_id"], stage="html_to_markdown")
    assert _by_path(converted).keys() == pages.keys()
    assert {row["status"] for row in converted} == {"completed"}


def _failures_name_page_and_error(
    server: ServerProcess, execution_id: str, broken: set[str], plan: dict[str, dict[str, Any]]
) -> None:
    failures = server.cli("lineage", "failures", "--execution", execution_id).done()["entries"]
    assert _by_path(failures).keys() == broken
    for failure in failures:
        url = failure["metadata"]["url"]
        fault = plan[urlsplit(url).path]["fault"]
        assert url in failure["error"]["message"]
        assert ("could not be fetched" if fault == "reset" else fault) in failure["error"][
            "message"
        ]
        assert server.read(failure["input_key"])
    table = server.cli("lineage", "failures", "--execution", execution_id, "--output", "table")
    assert table.code == 0
    assert table.out.count("web_scraper") >= len(broken)
