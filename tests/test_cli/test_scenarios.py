"""Scenarios from the documentation, typed into a shell against a real server, one after the other.

Each script in `scenarios/` is what a user types. `keep NAME…` hands variables on to the scripts that
follow; what they did is checked here, from outside.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factflow_testing.server_process import ServerProcess, run_command
from factflow_testing.site_process import XML, CountedPages, Page, served_pages, sitemap_of

HERE = Path(__file__).resolve().parent
PAGES = 12
NEEDED = [name for name in ("bash", "curl", "jq", "xargs") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(NEEDED), reason=f"not installed here: {', '.join(NEEDED)}")
KEEP = 'keep() { for name in "$@"; do printf "%s=%q\\n" "$name" "${!name}" >> kept; done; }'


class Scenarios:
    """A folder with pipelines, a server, a site, and what the scripts have kept so far."""

    def __init__(self, folder: Path, server: ServerProcess, site: str, pages: CountedPages) -> None:
        self.folder = folder
        self.server = server
        self.site = site
        self.pages = pages
        self.said = ""
        (folder / "kept").touch()

    def run(self, script: str) -> dict[str, str]:
        """Run a script to its end; fails when one of its commands does. Return all that is kept."""
        text = (HERE / "scenarios" / f"{script}.sh").read_text()
        setup = f"set -eu -o pipefail; {KEEP}; source kept\n"
        done = run_command(
            "bash", "-c", setup + text, cwd=self.folder,
            variables={"FACTFLOW_SERVER_URL": self.server.url, "SITE": self.site, "RUN": "monday"},
        )  # fmt: skip
        assert done.code == 0, f"{script} ended with {done.code}: {done.err}\n{done.out}"
        self.said = done.out
        lines = (self.folder / "kept").read_text().splitlines()
        return {
            name: " ".join(shlex.split(value))
            for name, _, value in (line.partition("=") for line in lines)
        }

    def execution(self, execution_id: str) -> dict[str, Any]:
        """Return an execution, which must have completed."""
        found: dict[str, Any] = self.server.get(f"/executions/{execution_id}")
        assert (found["status"], found["failed_count"]) == ("completed", 0)
        return found

    def stages(self, execution_id: str) -> dict[str, int]:
        """Return how many messages each stage of an execution has done."""
        rows = self.server.get(f"/executions/{execution_id}/stats")["stages"]
        return {row["stage"]: row["completed"] for row in rows}


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenarios]:
    folder = tmp_path_factory.mktemp("scenarios")
    shutil.copytree(HERE / "pipelines", folder / "pipelines")
    site_yaml = (folder / "pipelines" / "site.yaml").read_text()
    edited = site_yaml.replace("segments_of_site", "renamed_since")
    (folder / "pipelines" / "edited.yaml").write_text(edited)
    pages = CountedPages()
    with (
        served_pages(pages) as site,
        ServerProcess(folder / "data", "--allow-private-networks", cwd=folder) as server,
    ):
        for number in range(PAGES):
            text = " ".join(f"Sentence {part} of page {number} says little." for part in range(40))
            pages[f"/{number}"] = Page(f"<main><h1>{number}</h1><p>{text}</p></main>".encode())
        pages["/sitemap.xml"] = Page(sitemap_of(*(site + path for path in pages)), XML)
        yield Scenarios(folder, server, site, pages)


def test_s1_to_s4_in_sequence(scenarios: Scenarios) -> None:
    """Run; replay it; replay the replay; send what it stored into other routes."""
    kept = scenarios.run("s1-run")
    source = scenarios.execution(kept["SRC_ID"])
    assert scenarios.stages(kept["SRC_ID"]) == {
        "sitemap_parser": 1, "url_expander": 1, "web_scraper": PAGES, "markdown": PAGES,
    }  # fmt: skip
    fetched, stored = list(scenarios.pages.asked), scenarios.server.manifest()

    kept = scenarios.run("s2-replay")
    replay = scenarios.execution(kept["REPLAY_ID"])
    assert replay["parent_execution_id"] == source["execution_id"]
    assert scenarios.stages(kept["REPLAY_ID"]) == {"markdown": PAGES}

    kept = scenarios.run("s3-replay-of-the-replay")
    assert scenarios.execution(kept["AGAIN_ID"])["parent_execution_id"] == kept["REPLAY_ID"]
    assert scenarios.stages(kept["AGAIN_ID"]) == {"markdown": PAGES}
    assert kept["CHAIN"].split() == sorted([kept["SRC_ID"], kept["AGAIN_ID"]]), (
        "where its input is from"
    )

    kept = scenarios.run("s4-across-pipelines")
    for name in ("INTO_ID", "CURL_ID"):
        into = scenarios.execution(kept[name])
        assert into["replay_source"]["to_queue"] == "segments_of_site", "that of the snapshot"
        assert into["config_hash"] == source["config_hash"]
    done = scenarios.stages(kept["INTO_ID"])
    assert done["smart_segmenter"] == PAGES
    assert done == scenarios.stages(kept["CURL_ID"])
    other = scenarios.execution(kept["OTHER_ID"])
    assert (other["config_id"], other["parent_execution_id"]) == (
        kept["OTHER_CONFIG"],
        source["execution_id"],
    )
    assert other["replay_source"]["to_queue"] == "documents_in"
    smaller = scenarios.stages(kept["OTHER_ID"])
    assert smaller["smart_segmenter"] == PAGES
    assert (
        smaller["publish"] == smaller["markdown_storage_writer"] > done["markdown_storage_writer"]
    )

    assert scenarios.pages.asked == fetched, "no page was fetched a second time"
    now = scenarios.server.manifest()
    assert {path: now.get(path) for path in stored} == stored
