"""Every command line of the guides, typed as it stands there at a server with a run behind it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import typer

from factflow_cli.app import app
from factflow_testing.server_process import Finished, ServerProcess
from factflow_testing.site_process import XML, Page, served_pages, sitemap_of

Typed = Callable[..., Finished]

PIPELINE = """
version: "1.0"
init_message: {{route: sitemap_scraper, payload: {{sitemap_url: "{site}/sitemap.xml"}}}}
routes:
  sitemap_scraper:
    inbound: {{queue: sitemaps}}
    adapters: [{{type: sitemap_parser}}, {{type: url_expander}}, {{type: web_scraper}}]
    outbound: pages
  markdown_processor:
    inbound: {{queue: pages}}
    adapters: [{{type: html_to_markdown, stage: markdown}}]
    outbound: documents
  embeddings_route:
    inbound: {{queue: documents}}
    adapters: [{{type: markdown_storage_writer}}]
"""
# What stands for a placeholder in capitals; one page is missing on the site, so something has failed.
LINES = [
    ("storage list --execution EXEC_ID", 0),
    ("storage get KEY --output json", 0),
    ("storage get INPUT_KEY", 0),
    ("storage metadata KEY", 0),
    ("lineage list --execution EXEC_ID", 0),
    ("lineage list --execution EXEC_ID --status failed", 0),
    ("lineage list --execution EXEC_ID --adapter web_scraper", 0),
    ("lineage get LINEAGE_ID", 0),
    ("lineage chain LINEAGE_ID", 0),
    ("lineage chain MSG_ID", 0),
    ("lineage children LINEAGE_ID", 0),
    ("lineage children MSG_ID", 0),
    ("lineage batch BATCH_ID", 0),
    ("lineage failures", 0),
    ("lineage failures --execution EXEC_ID", 0),
    ("lineage stats --execution EXEC_ID", 0),
    ("execution replay EXEC_ID --from-stage web_scraper", 0),
    ("execution replay EXEC_ID --from-stage markdown --to-route embeddings_route", 0),
    ("execution replay EXEC_ID --from-stage web_scraper --to-route markdown_processor", 0),
    ("config run CONFIG_ID", 0),
    ("execution list", 0),
    ("execution list --status running", 0),
    ("execution list --status failed --limit 20 --offset 0", 0),
    ("execution get EXEC_ID", 0),
    ("execution wait EXEC_ID", 1),
    ("--timeout 1h execution wait EXEC_ID", 1),
    ("execution cancel EXEC_ID", 7),
    ("execution dag EXEC_ID", 0),
    ("execution stats EXEC_ID", 0),
    ("execution routes EXEC_ID", 0),
    ("pipeline list", 0),
    ("pipeline pause ROUTE_ID", 0),
    ("pipeline resume ROUTE_ID", 0),
    ("system health --debug", 0),
    ("storage watch --execution EXEC_ID", 0),
    ("system metrics", 0),
    ("pipeline metrics ROUTE_ID", 0),
    ("pipeline metrics ROUTE_ID --execution EXEC_ID", 0),
]


@dataclass(frozen=True)
class Ran:
    """A server, and what stands for the placeholders."""

    server: ServerProcess
    names: dict[str, str]


@pytest.fixture(scope="module")
def ran(server: ServerProcess) -> Iterator[Ran]:
    """Two pages were scraped, a third is missing."""
    pages = {f"/{name}": Page(f"<main><p>All about {name}.</p></main>".encode()) for name in "ab"}
    with served_pages(pages) as site:
        listed = [site + path for path in (*pages, "/missing")]
        pages["/sitemap.xml"] = Page(sitemap_of(*listed), XML)
        config = server.create(PIPELINE.format(site=site))
        execution = server.run(config)
        assert server.end_of(execution)["status"] == "failed"
        (failed,) = server.rows(execution, status="failed")
        stored = server.rows(execution, stage="markdown")[0]
        objects = server.get("/storage/objects", execution_id=execution)["objects"]
        key = next(row["key"] for row in objects if stored["message_id"] in row["key"])
        yield Ran(
            server,
            {
                "EXEC_ID": execution,
                "CONFIG_ID": config,
                "ROUTE_ID": "embeddings_route",
                "LINEAGE_ID": failed["id"],
                "MSG_ID": failed["message_id"],
                "INPUT_KEY": failed["metadata"]["input_key"],
                "BATCH_ID": "none-yet",
                "KEY": key,
            },
        )


def exists(line: str) -> bool:
    """Whether the program has a command of this name."""
    command = typer.main.get_command(app)
    for word in [word for word in line.split() if not word.startswith("-")][:2]:
        command = getattr(command, "commands", {}).get(word, command)
    return not getattr(command, "commands", {})


@pytest.mark.parametrize(("line", "code"), LINES, ids=str)
def test_a_documented_line_does_what_the_guide_says(
    line: str, code: int, ran: Ran, typed: Typed
) -> None:
    words = [ran.names.get(word, word) for word in shlex.split(line)]
    ended = typed(ran.server, *words)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    if code != 7:
        assert ended.out
    if line.endswith("INPUT_KEY"):
        assert "missing" in ended.out, "what tripped the adapter"


def test_the_commands_that_are_there_are_found() -> None:
    """The check that tells lines of missing commands apart knows those that are there."""
    assert [line for line, _ in LINES if not line.startswith("--") and not exists(line)] == []
