"""The sitemap corpus: where it lies, and how one case is judged. Read-only."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factflow_protocols.errors import AdapterError, PermanentError
from factflow_webscraper.patterns import UrlFilter
from factflow_webscraper.robots import RobotsRules
from factflow_webscraper.sitemap_tree import TreeLimits, TreeReader
from factflow_webscraper.sitemap_xml import SitemapDocument, SitemapEntry, parse_sitemap
from factflow_webscraper.urls import UrlRefusedError, resolve, same_site

DEVIATIONS = {
    "syn-duplicates": "a fragment never reaches the server: /a#frag is the page /a, fetched once",
}
"""Cases we answer differently on purpose, and why."""


def corpus_folder() -> Path:
    """Return the folder of the whole corpus, which may not exist."""
    given = os.environ.get("FACTFLOW_CORPUS")
    return Path(given) if given else Path(__file__).resolve().parents[6] / "shared" / "corpus"


@dataclass(frozen=True)
class Case:
    """One case of `cases.json` with its expectations."""

    id: str
    kind: str
    folder: Path
    facts: dict[str, Any]

    @property
    def expect(self) -> dict[str, Any]:
        return dict(self.facts["expect"])

    def body(self) -> bytes:
        return self.folder.joinpath(self.facts["file"]).read_bytes()


def load_cases() -> list[Case]:
    """Return all cases, none when the corpus is absent."""
    folder = corpus_folder() / "sitemaps"
    if not (folder / "cases.json").is_file():
        return []
    cases = []
    for row in json.loads((folder / "cases.json").read_text()):
        part = {"tree": "trees", "robots": "robots"}.get(row["kind"], "docs")
        facts = json.loads((folder / part / f"{row['id']}.expected.json").read_text())
        cases.append(Case(row["id"], row["kind"], folder, facts))
    return cases


def judge(case: Case) -> list[str]:
    """Return what is wrong with our answer to a case; nothing when it is right."""
    if case.kind == "robots":
        return _judge_robots(case)
    return _judge_tree(case) if case.kind == "tree" else _judge_document(case)


def _judge_document(case: Case) -> list[str]:
    expect, wrong = case.expect, []
    error: AdapterError | None = None
    document = SitemapDocument()
    try:
        document = parse_sitemap(case.body(), case.facts["url"])
    except PermanentError as raised:
        error = raised
        if not (raised.message and raised.hint):
            wrong.append("the error says nothing")
    if error is not None and expect["error"] is False:
        wrong.append(f"refused: {error.message}")
    if error is None and expect["error"] is True:
        wrong.append("taken, though it must be refused")
    pages = [page.url for page in document.pages]
    wrong += _judge_pages(case, pages)
    sitemaps = [entry.url for entry in document.sitemaps]
    if sitemaps != _normal(expect["sitemaps"]):
        wrong.append(f"sitemaps {sitemaps[:5]}")
    wrong += _judge_details(expect, [*document.pages, *document.sitemaps])
    return wrong


def _judge_pages(case: Case, pages: list[str]) -> list[str]:
    expect = case.expect
    if "pages_count" in expect:
        joined = hashlib.sha256("\n".join(pages).encode()).hexdigest()
        found = (len(pages), joined)
        wanted = (expect["pages_count"], expect["sha256_of_urls_joined_by_newline"])
        return [] if found == wanted else [f"pages {found}"]
    if "pages_if_cross_host_allowed" in expect:
        ours = [page for page in pages if same_site(page, case.facts["url"])]
        right = ours == expect["pages"] and pages == expect["pages_if_cross_host_allowed"]
        return [] if right else [f"pages {pages[:5]}"]
    accepted = [expect["pages"], *expect.get("pages_also_acceptable", [])]
    wrong = [] if any(pages == _normal(urls) for urls in accepted) else [f"pages {pages[:5]}"]
    if case.id in DEVIATIONS and len(expect["pages"]) == len(pages):
        wrong.append("the deviation is gone; take it off the list")
    wrong += [f"{url} is no page" for url in expect.get("not_pages", []) if url in pages]
    return wrong


def _judge_details(expect: dict[str, Any], entries: list[SitemapEntry]) -> list[str]:
    wrong = []
    found = {entry.url: entry for entry in entries}
    for url, wanted in expect.get("lastmod", {}).items():
        lastmod = found[url].lastmod
        # A bare day and its midnight in UTC are the same value written by two languages.
        if lastmod != wanted and f"{lastmod}T00:00:00Z" != wanted:
            wrong.append(f"lastmod of {url} is {lastmod}")
    for url, alternates in expect.get("alternates", {}).items():
        if list(found[url].alternates) != alternates:
            wrong.append(f"alternates of {url} are {found[url].alternates}")
    return wrong


def _judge_tree(case: Case) -> list[str]:
    documents = {resolve(entry["url"]): entry for entry in case.facts["documents"]}
    wrong = []
    plans = [("pages", True)]
    if "pages_if_cross_host_allowed" in case.expect:
        plans.append(("pages_if_cross_host_allowed", False))
    for name, same_host_only in plans:
        fetches: list[str] = []

        async def fetch(url: str, fetches: list[str] = fetches) -> tuple[str, bytes]:
            fetches.append(url)
            entry = documents.get(url)
            if entry is None or not entry["file"]:
                raise PermanentError(f"{url} answered 404", hint="check it")
            return url, (case.folder / entry["file"]).read_bytes()

        reader = TreeReader(fetch, TreeLimits(same_host_only=same_host_only), UrlFilter((), ()))
        try:
            tree = asyncio.run(reader.read(resolve(case.facts["entry_url"])))
            pages = [page.url for page in tree.pages]
        except PermanentError:
            pages = []
        # The lists of trees are sets: one of them is sorted, unlike its documents.
        if sorted(pages) != sorted(_normal(case.expect[name])):
            wrong.append(f"{name}: {pages[:5]}")
        if len(fetches) > case.expect.get("max_fetches", len(documents)):
            wrong.append(f"{len(fetches)} fetches")
    return wrong


def _judge_robots(case: Case) -> list[str]:
    expect, wrong = case.expect, []
    rules = RobotsRules(case.body(), expect.get("robots_url", "http://example.com/robots.txt"))
    for rule in expect.get("rules", []):
        answer = rules.allows(rule["url"], rule["user_agent"])
        if answer != rule["allowed"] and "contested" not in rule:
            wrong.append(f"{rule['user_agent']} at {rule['url']}: {answer}")
    sitemaps = rules.sitemaps()
    if "sitemaps" in expect and sitemaps != expect["sitemaps"]:
        wrong.append(f"sitemaps {sitemaps[:5]}")
    if "sitemaps_raw" in expect:
        raw = [resolve(line, expect["robots_url"]) for line in expect["sitemaps_raw"]]
        if sitemaps != list(dict.fromkeys(raw)):
            wrong.append(f"sitemaps {sitemaps[:5]}")
    for agent, delay in expect.get("crawl_delay", {}).items():
        if rules.crawl_delay(agent) != delay:
            wrong.append(f"crawl delay of {agent} is {rules.crawl_delay(agent)}")
    return wrong


def _normal(urls: list[str]) -> list[str]:
    """Return URLs in our normal form (percent-encoded), each once."""
    normal = []
    for url in urls:
        try:
            normal.append(resolve(url))
        except UrlRefusedError:
            normal.append(url)
    return list(dict.fromkeys(normal))
