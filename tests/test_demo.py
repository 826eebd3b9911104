"""`make demo` keeps its promises to a newcomer, says when one does not hold, leaves nothing running."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 240.0
PROCESS = re.compile(r"\(process (\d+)\)")

pytestmark = pytest.mark.timeout(300)


def command(*arguments: str | Path) -> list[str]:
    """Return the command line of a demo."""
    return [sys.executable, "demo/run.py", *map(str, arguments)]


@dataclass(frozen=True)
class Told:
    """How a demo ended, what it said, and the folder it worked in."""

    code: int
    out: str
    err: str
    folder: Path

    def says(self, sentence: str) -> bool:
        """Tell whether it said the sentence, however folded."""
        return sentence in " ".join(self.out.split())

    def pages(self) -> set[str]:
        """Return the paths that the site's sitemap names."""
        sitemap = (self.folder / "site/sitemap.xml").read_text()
        return set(re.findall(r"<loc>http://[^/]+(/[^<]+)</loc>", sitemap))

    def requests(self) -> Counter[tuple[str, str]]:
        """Return how often each path was asked for and answered with which status."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return Counter((path, status) for _, path, status in map(str.split, lines))

    def executions(self) -> tuple[Path, Path]:
        """Return the folders of the run and of its replay, which has a plan."""
        folders = list((self.folder / "data/storage/executions").iterdir())
        run = [folder for folder in folders if not (folder / "_plan").exists()]
        again = [folder for folder in folders if (folder / "_plan").exists()]
        assert (len(run), len(again)) == (1, 1)
        return run[0], again[0]


def artefacts(execution: Path, stage: str) -> list[Path]:
    """Return what a stage of an execution left, without the records."""
    return [
        path
        for path in execution.glob(f"*/{stage}/*")
        if not path.name.endswith(".meta.json") and path.is_file()
    ]


def contents(execution: Path) -> Counter[str]:
    """Return the hashes of an execution's segments."""
    return Counter(
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in artefacts(execution, "markdown_storage_writer")
    )


def run_demo(folder: Path, *arguments: str | Path) -> Told:
    """Run a demo to its end."""
    done = subprocess.run(
        command("--folder", folder, *arguments),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Told(done.returncode, done.stdout, done.stderr, folder)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The demo as `make demo` runs it."""
    return run_demo(tmp_path_factory.mktemp("demo") / "folder")


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three markdown files, which make the quickest demo."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "tea.md").write_text("# Tea\n\nGreen tea is *not* [coffee](drinks/coffee.md).\n")
    (folder / "water.md").write_text("# Water\n\n" + "Water is wet, and it is free.\n\n" * 20)
    (folder / "drinks").mkdir()
    (folder / "drinks/coffee.md").write_text("# Coffee\n\n| bean | taste |\n|---|---|\n| a | b |\n")
    return folder


@pytest.mark.long
def test_a_newcomer_sees_every_promise_hold(told: Told) -> None:
    """It ends with 0, and no line of its report says otherwise."""
    assert told.code == 0, told.out + told.err
    assert "[NO]" not in told.out
    assert re.search(r"All \d+ promises held", told.out)


@pytest.mark.long
def test_every_page_of_the_sitemap_is_scraped_and_asked_for_once(told: Told) -> None:
    """The replay is over when the log is read, so it asked for nothing."""
    pages, (run, again) = told.pages(), told.executions()
    assert len(pages) >= 5
    assert told.says(f"{len(pages)} of {len(pages)} pages in the sitemap were scraped")
    assert told.requests() == {(path, "200"): 1 for path in pages | {"/robots.txt", "/sitemap.xml"}}
    assert len(artefacts(run, "web_scraper")) == len(pages)
    assert artefacts(again, "web_scraper") == []


@pytest.mark.long
def test_the_replay_makes_the_same_segments(told: Told) -> None:
    """There are more segments than pages, and each comes out again as it was."""
    run, again = told.executions()
    assert sum(contents(run).values()) >= len(told.pages())
    assert contents(run) == contents(again)


@pytest.mark.long
def test_the_report_can_be_read_and_its_commands_be_typed(told: Told) -> None:
    """No colour in a file, nothing wider than a screen but ids and paths, which stay whole."""
    assert "\x1b" not in told.out
    whole = re.compile(rf"[0-9a-f]{{32}}|{re.escape(str(told.folder))}")
    assert [
        line for line in told.out.splitlines() if len(line) > 80 and not whole.search(line)
    ] == []
    for typed in (
        "$ factflow config create -f backend/config/pipelines/site-to-markdown.yaml",
        "$ factflow execution stats demo",
        "$ factflow lineage chain ",
        "$ factflow execution replay demo --from-stage web_scraper",
    ):
        assert typed in told.out
    assert f"{told.executions()[0]}/" in told.out
    assert "# " in told.out  # the segment's first lines


@pytest.mark.long
def test_nothing_is_left_running(told: Told) -> None:
    """The server it names is gone."""
    match = PROCESS.search(told.out)
    assert match is not None
    assert not lives(int(match[1]))


@pytest.mark.long
def test_a_missing_page_fails_alone_and_joins_the_rest_after_its_repair(
    tmp_path: Path, documents: Path
) -> None:
    """Its error is named; the replay fetches that page and no other."""
    told = run_demo(tmp_path / "folder", "--missing-page", "--docs", documents)
    assert told.code == 0, told.out + told.err
    (missing,) = (path for path, status in told.requests() if status == "404")
    assert re.search(rf"http://\S+{missing} answered 404 Not Found", told.out)
    expected = Counter({(path, "200"): 1 for path in told.pages() | {"/sitemap.xml"}})
    assert told.requests() == expected + Counter({("/robots.txt", "200"): 2, (missing, "404"): 1})
    run, again = told.executions()
    assert len(artefacts(run, "web_scraper")) == len(told.pages()) - 1
    assert len(artefacts(again, "web_scraper")) == 1
    assert contents(run) < contents(again)


@contextmanager
def foreign_site(folder: Path, pages: int, lacking: int) -> Iterator[tuple[str, list[str]]]:
    """Serve a site that is not the demo's; yield its URL and the paths asked for, as they come."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            asked.append(self.path)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the parent's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        names = [f"page{number}.html" for number in range(pages)]
        for name in names[lacking:]:
            text = f"<p>The text of {name} is long enough to be its content.</p>" * 5
            (folder / name).write_text(f"<title>{name}</title><main><h1>{name}</h1>{text}</main>")
        (folder / "sitemap.txt").write_text("".join(f"{url}/{name}\n" for name in names))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield url, asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.long
def test_a_real_site_with_a_dead_link_is_told_of_and_not_fetched_twice(tmp_path: Path) -> None:
    """Sites have dead links: the page is named as failed, and all that was promised still holds."""
    (tmp_path / "site").mkdir()
    with foreign_site(tmp_path / "site", pages=4, lacking=1) as (url, asked):
        told = run_demo(tmp_path / "folder", "--sitemap", f"{url}/sitemap.txt")
    assert told.code == 0, told.out + told.err
    assert told.says("3 of 4 pages in the sitemap were scraped, 1 failed")
    assert told.says(f"{url}/page0.html answered 404 Not Found")
    requests = Counter(path for path in asked if path.startswith("/page"))
    assert requests == {"/page0.html": 2, "/page1.html": 1, "/page2.html": 1, "/page3.html": 1}


@pytest.mark.long
def test_a_broken_promise_is_told_and_ends_with_1(tmp_path: Path) -> None:
    """A sitemap that is not there: the reason, what was promised and did not come, no stack trace."""
    (tmp_path / "site").mkdir()
    with foreign_site(tmp_path / "site", pages=0, lacking=0) as (url, _):
        told = run_demo(tmp_path / "folder", "--sitemap", f"{url}/none.xml")
    assert told.code == 1, told.out + told.err
    assert told.says(f"{url}/none.xml answered 404 Not Found")
    assert "[NO] pages are scraped: of 0 in the sitemap none was" in told.out
    assert "demo: error: no page was scraped" in told.err
    assert "Traceback" not in told.out + told.err


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    """It empties only what a demo made."""
    (tmp_path / "thesis.txt").write_text("years of work")
    told = run_demo(tmp_path)
    assert told.code == 2
    assert "in use for something else" in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def lives(pid: int) -> bool:
    """Tell whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def running_demo(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Start a demo; it is killed when the test leaves it running."""
    with subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=SECONDS)


def said_until(process: subprocess.Popen[str], mark: str) -> str:
    """Return what a demo says up to the line with the mark; fails when it ends before."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if mark in line:
            return said
    raise AssertionError(f"ended without {mark!r}:\n{said}")


def server_pid(said: str) -> int:
    """Return the process id of the server that a demo named."""
    match = PROCESS.search(said)
    assert match is not None
    return int(match[1])


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_demo_stops_what_it_started(
    tmp_path: Path, documents: Path, number: signal.Signals
) -> None:
    """Ctrl+C in the midst of it: the server goes too, and the next demo finds the folder free."""
    with running_demo("--folder", tmp_path / "folder", "--docs", documents) as process:
        said = said_until(process, "$ factflow execution wait demo")
        process.send_signal(number)
        rest, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 128 + number
        assert not lives(server_pid(said))
        assert "Traceback" not in said + rest


@pytest.mark.long
def test_a_demo_that_is_kept_up_answers_until_ctrl_c_and_keeps_its_folder(
    tmp_path: Path, documents: Path
) -> None:
    """Meanwhile a second demo in the same folder is refused and takes nothing away."""
    folder = tmp_path / "folder"
    with running_demo("--keep", "--folder", folder, "--docs", documents) as process:
        said = said_until(process, "stay up at")
        url = re.findall(r"http://[\d.]+:\d+", said)[-1]
        second = run_demo(folder)
        assert second.code == 2
        assert "another demo uses" in second.err
        assert str(process.pid) in second.err
        with urllib.request.urlopen(f"{url}/api/v1/system/health", timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, rest
        assert "promises held" in rest
        assert not lives(server_pid(said))
