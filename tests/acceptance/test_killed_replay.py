"""A replay of 960 pages whose server is killed ends with 960, and fetches none of them again."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from factflow_testing.server_process import ServerProcess, manifest, wait_until
from factflow_testing.site_process import XML, CountedPages, Page, served_pages, sitemap_of

PAGES = 960
OPTIONS = ("--allow-private-networks",)
PIPELINE = """
version: "1.0"
name: site
init_message: {{route: pages, payload: {{sitemap_url: "{site}/sitemap.xml"}}}}
routes:
  pages:
    inbound: {{queue: pages, concurrency: 8}}
    adapters:
      - type: sitemap_parser
      - type: url_expander
      - type: web_scraper
        config: {{max_concurrency_per_host: 8}}
    outbound: {{queue: texts}}
  texts:
    inbound: {{queue: texts, concurrency: 8}}
    adapters:
      - type: html_to_markdown
"""
KILLS = [
    ("storage.record.after:10", "nothing"),
    ("queue.publish.after:1", "nothing"),  # the first items are published, and no result is stored
    ("execution.insert.after:1", "nothing"),  # the plan stands and nothing of it is published
    ("queue.publish.before:2", "nothing"),
    ("storage.record.after:700", "nothing"),
    ("storage.record.after:300", "queue.db"),
]


@pytest.fixture(scope="module")
def pages() -> CountedPages:
    """A site's pages; those of the sitemap are there once it is served."""
    return CountedPages()


@pytest.fixture(scope="module")
def fetched(
    pages: CountedPages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """A data folder in which every page was fetched once, and the execution that did it."""
    data = tmp_path_factory.mktemp("fetched") / "data"
    with served_pages(pages) as site:
        for number in range(PAGES):
            text = f"<main><h1>Page {number}</h1><p>It says {number}.</p></main>"
            pages[f"/{number}"] = Page(text.encode())
        pages["/sitemap.xml"] = Page(sitemap_of(*(site + path for path in pages)), XML)
        with ServerProcess(data, *OPTIONS) as server:
            execution = server.run(server.create(PIPELINE.format(site=site)))
            assert server.end_of(execution)["status"] == "completed"
            server.stop()
        assert sorted(path for path in pages.asked if path[1:].isdigit()) == sorted(
            path for path in pages if path[1:].isdigit()
        )
        yield data, execution


@pytest.mark.long
@pytest.mark.parametrize(("point", "lost"), KILLS)
def test_a_killed_replay_ends_with_all_pages_and_fetches_none(
    fetched: tuple[Path, str], pages: CountedPages, tmp_path: Path, point: str, lost: str
) -> None:
    folder, source = fetched
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    before, asked = manifest(data), len(pages.asked)
    with ServerProcess(data, *OPTIONS, FACTFLOW_CRASH_POINT=point) as server:
        with contextlib.suppress(httpx2.TransportError):  # it may die before it has answered
            server.post(f"/executions/{source}/replay", {"from_stage": "web_scraper"})
        assert server.wait_dead() == -signal.SIGKILL, f"{point} was never reached"
    for file in data.glob(f"{lost}*"):
        file.unlink()
    with ServerProcess(data, *OPTIONS) as server:
        [replay] = (
            row for row in server.get("/executions")["executions"] if row["source"] == "replay"
        )
        execution = f"/executions/{replay['execution_id']}"
        wait_until("the replay to complete", lambda: server.get(execution)["status"] == "completed")
        ended = server.get(execution)
        assert (ended["message_count"], ended["failed_count"]) == (PAGES, 0)
        assert ended["recoveries"] == 1
        stage = data / "storage" / "executions" / replay["execution_id"] / "texts"
        assert len(list(stage.rglob("*.meta.json"))) == PAGES
        diff = server.get(f"/executions/{source}/diff/{replay['execution_id']}")
        assert diff["same"], diff["changes"]
        now = server.manifest()
    assert {path: now.get(path) for path in before} == before
    assert pages.asked[asked:] == []


@pytest.mark.long
def test_a_replay_killed_before_its_row_stands_leaves_no_execution(
    fetched: tuple[Path, str], tmp_path: Path
) -> None:
    folder, source = fetched
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    with ServerProcess(data, *OPTIONS, FACTFLOW_CRASH_POINT="plan.write.after") as server:
        with contextlib.suppress(httpx2.TransportError):
            server.post(f"/executions/{source}/replay", {"from_stage": "web_scraper"})
        assert server.wait_dead() == -signal.SIGKILL
    with ServerProcess(data, *OPTIONS) as server:
        assert server.get("/executions")["total"] == 1
        again = server.cli("execution", "replay", source, "--from-stage", "web_scraper", "--wait")
        assert again.done()["message_count"] == PAGES
