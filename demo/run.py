"""A web site goes in, markdown segments come out; then once more, without fetching a page.

    make demo                                          on a site made from the project's own docs
    make demo SITEMAP=https://example.org/sitemap.xml  on a real one
    python demo/run.py --missing-page                  one page fails, is repaired, and joins the rest
    make demo STACK=services                           by two workers, with PostgreSQL and RabbitMQ

Everything it makes is in .demo, which every run empties first; everything it starts, it stops. It ends
with 0 when all that it promises came true, 1 when something did not, 2 when it could not start.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import ipaddress
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import quote, urlsplit

import screen
import steps
from commands import Commands
from demo_folder import DemoError, fresh_folder
from demo_process import PROGRAM
from demo_stack import Stack, start_stack
from doc_site import ALL_DOCUMENTS, PROJECT_DOCUMENTS, NoDocumentsError, build_site
from site_server import SiteServer

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = ROOT / "backend/config/pipelines/site-to-markdown.yaml"


def main() -> int:
    """Run the demo and return its exit code."""
    options = _options()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the commands print comes between our own lines; a poor locale is no reason to stop.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        return _tell(options)
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the exit
        return 1
    except DemoError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 2


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  # signal's shape
    """Unwind, so that what was started is stopped."""
    sys.exit(128 + number)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo/run.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sitemap", metavar="URL", help="sitemap of a real site")
    which.add_argument(
        "--docs", type=Path, metavar="DIR", help="make the site from the markdown files there"
    )
    parser.add_argument(
        "--stack",
        choices=["embedded", "services"],
        default="embedded",
        help="services: a server and two workers share PostgreSQL, a broker and a store "
        "(FACTFLOW_DATABASE_URL, FACTFLOW_QUEUE_URL, FACTFLOW_STORAGE_URI)",
    )
    parser.add_argument(
        "--missing-page", action="store_true", help="leave out a page of the site until the replay"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep server and site up at the end, until Ctrl+C"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".demo", metavar="DIR", help="default: .demo"
    )
    options = parser.parse_args()
    if options.sitemap is not None:
        if options.missing_page:
            parser.error("--missing-page is for the demo's own site")
        if urlsplit(options.sitemap).scheme not in ("http", "https"):
            parser.error(f"--sitemap takes an http(s) URL, not {options.sitemap!r}")
    if options.docs is not None and not options.docs.is_dir():
        parser.error(f"--docs: {options.docs} is no folder")
    return options


def _tell(options: argparse.Namespace) -> int:
    promises = screen.Promises()
    folder = options.folder.resolve()
    with ExitStack() as running:
        lock = running.enter_context(fresh_folder(folder))
        services = None
        if options.stack == "services":
            from services import (
                shared_places,
            )  # what asks PostgreSQL and brokers takes its time to load

            services = running.enter_context(shared_places(folder, os.environ))
        screen.heading("1  A web site")
        site = _real_site(options.sitemap) if options.sitemap else _own_site(options, running)
        screen.heading("2  A server" if services is None else "2  A server and its workers")
        screen.say(f"(factflow is {screen.path(PROGRAM)})")
        private = site.is_ours or _is_private(site.sitemap_url)
        stack = start_stack(running, folder, lock, services, private_networks=private)
        commands = Commands(stack.server)
        stack.show(commands)
        demo = steps.Demo(
            commands, promises, site, stack.artefacts, PIPELINE, exports=stack.exports
        )
        screen.heading("3  Run the pipeline: sitemap in, markdown segments out")
        run = steps.run_pipeline(demo)
        stack.check_shares(promises, run.id)
        screen.heading("4  Look at what came of it")
        steps.look_at_results(demo, run)
        screen.heading(f"5  Run it again from storage: what follows {steps.SCRAPER}")
        again = steps.replay(demo, run)
        if options.keep:
            _suggest(folder, options, stack)
            who = "Server, workers" if stack.workers else "Server"
            screen.say(f"{who} and site stay up at {stack.server.url}; Ctrl+C stops them.")
            _wait_for_interrupt(stack)
        stack.stop(promises)
        stack.check_queues(promises, [run.id, again.id], run.queues)
    if not options.keep:
        _suggest(folder, options, stack)
    return _verdict(promises)


def _own_site(options: argparse.Namespace, running: ExitStack) -> steps.Site:
    folder = options.folder.resolve() / "site"
    folder.mkdir()
    log = folder.with_name("access.log")
    server = running.enter_context(SiteServer(folder, log))
    documents = options.docs or ROOT
    patterns = ALL_DOCUMENTS if options.docs else PROJECT_DOCUMENTS
    try:
        pages = build_site(documents, patterns, folder, server.url)
    except NoDocumentsError as error:
        raise DemoError(str(error), "name a folder with markdown files: --docs DIR", 2) from error
    what = "the markdown files given" if options.docs else "the project's own documents"
    screen.say(f"{len(pages)} pages, made from {what}: {screen.path(folder)}/")
    screen.say(f"served at {server.url}, with an access log: {screen.path(log)}")
    site = steps.Site(
        sitemap_url=f"{server.url}/sitemap.xml",
        pages=[f"/{quote(page.address)}" for page in pages],
        requests=server.requests,
    )
    if options.missing_page:
        gone = folder / pages[-1].address
        content = gone.read_bytes()
        gone.unlink()
        site.missing = f"/{quote(pages[-1].address)}"
        site.repair = lambda: _put_back(gone, content)
        screen.say(f"One page is missing although the sitemap names it: {site.missing}")
    return site


def _put_back(page: Path, content: bytes) -> None:
    page.write_bytes(content)


def _real_site(sitemap_url: str) -> steps.Site:
    screen.say(f"The site of {sitemap_url}")
    screen.say("Its robots.txt and its pace are respected; a large site takes its time.")
    return steps.Site(sitemap_url)


def _is_private(url: str) -> bool:
    """Whether the address itself says that it is in a private network; names are for the server to judge."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost"


def _wait_for_interrupt(stack: Stack) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while stack.is_alive():
            time.sleep(0.2)
    print()


def _suggest(folder: Path, options: argparse.Namespace, stack: Stack) -> None:
    screen.heading("6  What next")
    if not options.keep:
        screen.say("All of this stays. Start a server on it, and ask on:")
        if stack.services is not None:
            stack.services.show()
        screen.command(["factflow", "serve", "--data-dir", screen.path(folder / "data")])
        screen.command(["factflow", "execution", "list"])
        screen.command(["factflow", "storage", "list", "--execution", steps.RUN])
        print()
    screen.say(
        "A site of your own, a page that fails and is repaired, a server to play with, workers:"
    )
    screen.command(["make", "demo", "SITEMAP=https://example.org/sitemap.xml"])
    python = screen.path(Path(sys.executable))
    screen.command([python, "demo/run.py", "--missing-page"])
    screen.command([python, "demo/run.py", "--keep"])
    screen.command(["make", "demo", "STACK=services"])
    guide = ROOT / "docs/guides/writing-an-adapter.md"
    if guide.exists():
        screen.say(f"A stage of your own: {screen.path(guide)}")


def _verdict(promises: screen.Promises) -> int:
    total = len(promises.kept) + len(promises.broken)
    if not promises.broken:
        print(f"\nAll {total} promises held.")
        return 0
    print(f"\n{len(promises.broken)} of {total} promises did not hold:")
    for sentence in promises.broken:
        screen.note(sentence)
    return 1


if __name__ == "__main__":
    sys.exit(main())
