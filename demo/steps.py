"""The demo's chapters: run the pipeline, look at what came of it, run it again from storage."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import screen
from commands import Commands, Row
from demo_folder import DemoError
from doc_site import FOOTER_SENTENCE, MENU_SENTENCE

RUN = "demo"
AGAIN = "demo-again"
EXPANDER = "url_expander"
SCRAPER = "web_scraper"
WRITER = "markdown_storage_writer"
LINES_OF_SEGMENT = 14
OWN_SITE_TIMEOUT = "2m"


@dataclass
class Site:
    """The site as the demo knows it: with its own site, also what is served and what was asked for."""

    sitemap_url: str
    pages: list[str] | None = None
    """The paths of all pages in the sitemap; None for a site that is not ours."""
    missing: str | None = None
    """The path of a page that the sitemap names and the site lacks at first."""
    repair: Callable[[], None] = lambda: None
    requests: Callable[[], Counter[str]] = field(default=Counter)

    @property
    def is_ours(self) -> bool:
        """Whether the demo made and serves it."""
        return self.pages is not None


@dataclass
class Run:
    """What one execution came to: itself as the server tells of it, and all its lineage rows."""

    execution: Row
    rows: Sequence[Row]

    @property
    def id(self) -> str:
        """The execution's id."""
        return str(self.execution["execution_id"])

    @property
    def status(self) -> str:
        """How it ended."""
        return str(self.execution["status"])

    @property
    def queues(self) -> list[str]:
        """The queues of its routes."""
        return [str(route["queue"]) for route in self.execution["routes"]]

    @property
    def failed(self) -> list[Row]:
        """The rows of messages that failed, at whichever stage."""
        return [row for row in self.rows if row["status"] == "failed"]

    def at(self, stage: str, status: str = "completed") -> list[Row]:
        """Return the rows of a stage with a status."""
        return [row for row in self.rows if row["stage"] == stage and row["status"] == status]

    def lost(self) -> set[str]:
        """Return the origins of the pages that could not be scraped."""
        return {row["origin_id"] for row in self.at(SCRAPER, "failed")}

    def contents(self) -> dict[str, str]:
        """Return the SHA-256 of every segment by its origin: the way that led to it."""
        return {row["origin_id"]: row["output_hash"] for row in self.at(WRITER)}


@dataclass
class Demo:
    """What the chapters share. `artefacts` is the folder with what was stored, as plain files; `exports` says
    that they are to be written there first."""

    commands: Commands
    promises: screen.Promises
    site: Site
    artefacts: Path
    pipeline: Path
    exports: bool = False

    @property
    def patience(self) -> Sequence[str]:
        """How long to wait for an execution: our own site is small, a real one may be large."""
        return ("--timeout", OWN_SITE_TIMEOUT) if self.site.is_ours else ()

    def stored(self, key: str) -> Path:
        """Return the file of a stored object."""
        return self.artefacts / key

    def ended(self, execution: str) -> Run:
        """Show an execution's progress to its end, and gather what it left."""
        row = self.commands.wait(execution, *self.patience)
        if self.exports:
            where = ("--output-dir", screen.path(self.artefacts))
            self.commands.ask("storage", "export", "--execution", execution, *where, shown=True)
        return Run(row, self.commands.rows(execution))


def run_pipeline(demo: Demo) -> Run:
    """Store the pipeline, run it on the site, wait, and say how each page fared."""
    commands = demo.commands
    config = commands.ask("config", "create", "-f", screen.path(demo.pipeline), shown=True)
    screen.note(f"config {config['id']}, version {config['version']}, no problems found")
    commands.ask(
        *("config", "run", config["id"], "--tag", RUN),
        *("--init", f"sitemap_url={demo.site.sitemap_url}"),
        shown=True,
    )
    screen.note(f'the execution has the tag "{RUN}", which may stand for its id')
    run = demo.ended(RUN)
    print()
    if run.failed:
        _show_failures(demo, run)
    _check_pages(demo, run)
    if not run.at(SCRAPER):
        raise DemoError("no page was scraped, so there is nothing to go on with")
    return run


def _check_pages(demo: Demo, run: Run) -> None:
    """Check that every page of the sitemap was asked for once, and scraped or named as failed."""
    check, site = demo.promises.check, demo.site
    scraped, lost = len(run.at(SCRAPER)), len(run.lost())
    found = sum(row["output_count"] for row in run.at(EXPANDER))
    expected = found if site.pages is None else len(site.pages)
    if not scraped:
        check(False, f"pages are scraped: of {expected} in the sitemap none was")
    elif site.missing or not site.is_ours:
        check(
            scraped == expected - lost,
            f"{scraped} of {expected} pages in the sitemap were scraped, "
            f"{lost} failed: none is unaccounted for",
        )
    else:
        check(
            run.status == "completed" and scraped == expected,
            f"{scraped} of {expected} pages in the sitemap were scraped; "
            f"the execution is {run.status}",
        )
    if site.missing:
        failed = [urlsplit(str(row["metadata"].get("url"))).path for row in run.failed]
        check(failed == [site.missing], f"the missing page failed alone: {', '.join(failed)}")
    if site.pages is not None:
        asked = site.requests()
        once = [path for path in site.pages if asked[path] == 1]
        check(
            len(once) == expected,
            f"{len(once)} of {expected} pages were asked for exactly once (the site's access log)",
        )


def _show_failures(demo: Demo, run: Run) -> None:
    demo.commands.show("lineage", "failures", "--execution", RUN)
    kept = [row for row in run.failed if demo.stored(row["input_key"]).is_file()]
    demo.promises.check(
        len(kept) == len(run.failed),
        f"messages that failed: {len(run.failed)}; inputs kept for another try: {len(kept)}",
    )


def look_at_results(demo: Demo, run: Run) -> None:
    """Show counts per stage, the artefacts on disk, one segment and the way it took."""
    screen.say("How many messages each stage got, and how they ended:")
    demo.commands.show("execution", "stats", RUN)
    folder = demo.stored(f"executions/{run.id}")
    print()
    screen.say("What each stage made is a file, with its record (.meta.json) beside it:")
    print(f"{screen.path(folder)}/")
    for stage in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        made = [path for path in stage.iterdir() if not path.name.endswith(".meta.json")]
        kinds = ", ".join(sorted({path.suffix for path in made})) or "records only"
        print(f"  {stage.relative_to(folder).as_posix() + '/':46}{len(made):6}  {kinds}")
    _check_segments(demo, run)
    print()
    _show_segment(demo, run, max(run.at(WRITER), key=_interest))


def _check_segments(demo: Demo, run: Run) -> None:
    """Check that the segments are on disk as their records say, and hold the pages' content only."""
    hashes = {demo.stored(row["output_key"]): row["output_hash"] for row in run.at(WRITER)}
    found = {path: path.read_bytes() for path in hashes if path.is_file()}
    whole = [p for p, content in found.items() if hashlib.sha256(content).hexdigest() == hashes[p]]
    demo.promises.check(
        0 < len(whole) == len(hashes),
        f"{len(whole)} of {len(hashes)} markdown segments are on disk, whole (SHA-256)",
    )
    if demo.site.is_ours:
        around = (MENU_SENTENCE.encode(), FOOTER_SENTENCE.encode())
        clean = [text for text in found.values() if not any(words in text for words in around)]
        demo.promises.check(
            len(clean) == len(hashes),
            f"{len(clean)} of {len(hashes)} segments hold content only, no menu and no footer",
        )


def _interest(row: Row) -> tuple[bool, int]:
    """Rank segments: one that begins its page and is of some length shows most."""
    return row["metadata"].get("ordinal") == 0, int(row["metadata"].get("token_count") or 0)


def _show_segment(demo: Demo, run: Run, row: Row) -> None:
    screen.say("One of the segments, and the way it took (the sitemap is where it began):")
    key = str(row["output_key"]).removeprefix(f"executions/{run.id}/")
    screen.command(["factflow", "storage", "get", "-e", run.id, key])
    text = demo.stored(row["output_key"]).read_text(encoding="utf-8")
    screen.excerpt([*text.splitlines()[:LINES_OF_SEGMENT], "…"])
    demo.commands.show("lineage", "chain", row["id"])


def replay(demo: Demo, run: Run) -> Run:
    """Go on from what the scraper stored, and prove that nothing was fetched for it."""
    commands, check = demo.commands, demo.promises.check
    lost = run.lost()
    if demo.site.missing:
        demo.site.repair()
        screen.say(f"The site's owner puts {demo.site.missing} back.")
    before = demo.site.requests()
    answer = commands.ask(
        "execution", "replay", RUN, "--from-stage", SCRAPER, "--tag", AGAIN, shown=True
    )
    screen.note(str(answer["note"]))
    again = demo.ended(AGAIN)
    print()
    grown = demo.site.requests() - before
    tried = [row["origin_id"] for row in again.rows if row["stage"] == SCRAPER]
    check(
        sorted(tried) == sorted(lost),
        f"{SCRAPER} ran for {len(tried)} of {len(run.at(SCRAPER)) + len(lost)} pages in the replay"
        + (": those that had failed in it" if lost else ""),
    )
    if demo.site.is_ours:
        allowed = Counter({demo.site.missing: 1, "/robots.txt": 1}) if demo.site.missing else None
        more = ": " + ", ".join(sorted(grown)) if grown else ""
        check(
            grown == (allowed or Counter()),
            f"the site's access log had {before.total()} requests before the replay and "
            f"{(before + grown).total()} after it{more}",
        )
    first, second = run.contents(), again.contents()
    same = [origin for origin, content in first.items() if second.get(origin) == content]
    check(
        len(same) == len(first) and (bool(lost) or len(second) == len(first)),
        f"{len(same)} of {len(first)} segments came out again, the same to the byte"
        + (f", and {len(second) - len(same)} new ones" if lost else ""),
    )
    if demo.site.missing or not run.failed:
        check(again.status == "completed", f"the replay is {again.status}")
    screen.note(f"the run took {_seconds(run)}, the replay {_seconds(again)}")
    return again


def _seconds(run: Run) -> str:
    return f"{run.execution['duration_ms'] / 1000:.1f} s"
