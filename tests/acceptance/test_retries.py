"""What is tried again, when, and what is left of what was not: with the real scraper and real sites."""

from __future__ import annotations

import contextlib
import email.utils
import json
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from factflow_testing.server_process import ServerProcess, wait_until
from factflow_testing.site_process import Page, served_pages

PIPELINE = """
version: "1.0"
name: scraping
init_message: {route: find}
error_handling:
  max_retries: 3
  retry_delay_seconds: 0.1
  dead_letter_queue: dead
  failure_tolerance: 0.5
routes:
  find:
    inbound: {queue: find}
    adapters:
      - {type: url_expander}
    outbound: fetch
  fetch:
    inbound: {queue: fetch, concurrency: 1}
    adapters:
      - {type: web_scraper}
"""
ASKED_FOR = 4.0


def _in_seconds() -> dict[str, str]:
    return {"Retry-After": f"{ASKED_FOR:g}"}


def _as_a_date() -> dict[str, str]:
    # Whole seconds only: the one after, so that it is not asked for too early.
    return {"Retry-After": email.utils.formatdate(time.time() + ASKED_FOR + 1, usegmt=True)}


@pytest.mark.long
def test_a_scrape_tries_again_what_may_pass_and_as_late_as_the_site_asks(tmp_path: Path) -> None:
    """One slot only; and `kill -9` comes while two pages wait for their time."""
    fine, gone, busy = Page(b"<p>fine"), Page(failures=99, status=404), Page(b"<p>x", failures=2)
    later = Page(b"<p>x", failures=1, headers=_in_seconds)
    dated = Page(b"<p>x", failures=1, headers=_as_a_date)
    data = tmp_path / "data"
    options = ("--allow-private-networks", "--log-level", "error")
    with contextlib.ExitStack() as sites:
        # Each on a site of its own: what one asks for holds the whole site back.
        pages = {"later": later, "dated": dated, "gone": gone, "busy": busy, "fine": fine}
        urls = {
            name: f"{sites.enter_context(served_pages({'/': page}))}/"
            for name, page in pages.items()
        }
        with ServerProcess(data, *options) as server:
            execution = server.run(server.create(PIPELINE), urls=list(urls.values()))
            wait_until("all others to be done", lambda: _only_two_wait(server, execution))
            assert _attempts(server, execution, urls["later"]) == ("pending", 2)
            assert server.get(f"/executions/{execution}")["status"] == "running"
            server.kill()
        with ServerProcess(data, *options) as server:
            ended = server.end_of(execution)
            assert (ended["status"], ended["failed_count"]) == ("completed", 1)
            wait_until("lineage to be whole", lambda: len(_fetched(server, execution)) == 5)
            found = {name: _attempts(server, execution, url) for name, url in urls.items()}
            _one_dead_letter(server, execution, urls["gone"])
    assert found == {
        "fine": ("completed", 1),
        "gone": ("failed", 1),
        "busy": ("completed", 3),
        "later": ("completed", 2),
        "dated": ("completed", 2),
    }
    assert {name: len(page.asked) for name, page in pages.items()} == {
        name: attempts for name, (_, attempts) in found.items()
    }
    for page in (later, dated):
        assert page.asked[1] - page.asked[0] >= ASKED_FOR - 0.1


def _only_two_wait(server: ServerProcess, execution: str) -> bool:
    routes = server.get(f"/executions/{execution}/routes")["routes"]
    route: dict[str, Any] = next(route for route in routes if route["route_id"] == "fetch")
    left = (route["queued"], route["in_progress"], route["delayed"])
    return left == (0, 0, 2) and len(_fetched(server, execution)) == 3


def _fetched(server: ServerProcess, execution: str) -> list[dict[str, Any]]:
    rows = server.rows(execution, stage="web_scraper")
    return [row for row in rows if row["status"] in {"completed", "failed"}]


def _attempts(server: ServerProcess, execution: str, url: str) -> tuple[str, int]:
    [row] = server.rows(execution, stage="web_scraper", url=url)
    return row["status"], row["attempts"]


def _one_dead_letter(server: ServerProcess, execution: str, url: str) -> None:
    listed = server.cli("storage", "list", "--execution", execution, "--prefix", "_dead").done()
    [copy] = listed["objects"]
    assert copy["key"].startswith(f"executions/{execution}/_dead/dead/")
    assert json.loads(server.read(copy["key"]))["url"] == url
    told = server.cli("storage", "metadata", copy["key"]).done()
    assert "404" in told["error"]["message"]
    assert (told["failed_route"], told["failed_stage"]) == ("fetch", "web_scraper")
    assert told["attempts"] == 1


FAILING = """
version: "1.0"
name: failing
init_message: {route: r, payload: {n: 1}}
routes:
  r:
    inbound: {queue: q}
    adapters: [{type: fail}]
    error_handling: {dead_letter_queue: dead}
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "point",
    [
        "storage.record.after:2",
        "storage.artefact.after:2",
        "storage.record.before:3",
        "storage.record.after:3",
        "queue.settle.before:1",
    ],
)
def test_a_dead_letter_is_kept_once_whatever_instant_the_server_dies_at(
    tmp_path: Path, adapters: tuple[str, ...], point: str
) -> None:
    """Records are written in this order: of the init payload, of the failure, of the copy."""
    data = tmp_path / "data"
    with ServerProcess(data, *adapters, FACTFLOW_CRASH_POINT=point) as server:
        config = server.create(FAILING)
        with contextlib.suppress(httpx2.TransportError):
            server.run(config)
        assert server.wait_dead() == -signal.SIGKILL, f"{point} was never reached"
    with ServerProcess(data, *adapters) as server:
        [execution] = (row["execution_id"] for row in server.get("/executions")["executions"])
        ended = server.end_of(execution)
        assert (ended["status"], ended["failed_count"]) == ("failed", 1)
        folder = server.data_dir / "storage" / "executions" / execution / "_dead" / "dead"
        [sidecar] = folder.glob("*.meta.json")
        told = json.loads(sidecar.read_bytes())
        assert json.loads(server.read(told["output_key"])) == {"n": 1}
        assert told["error"]["type"] == "ValueError"
