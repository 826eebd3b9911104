"""Web sites on loopback: the corpus's documentation site with its faults, and pages made up on the spot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import Any

HTML = "text/html; charset=utf-8"
XML = "application/xml"


def corpus_folder(repository: Path) -> Path:
    """Return where the corpus is to be found: `FACTFLOW_CORPUS`, or beside the repository."""
    named = os.environ.get("FACTFLOW_CORPUS")
    return Path(named) if named else repository.parent / "shared" / "corpus"


@dataclass(frozen=True, slots=True)
class CorpusSite:
    """A site of the corpus that is being served: its address, and what was asked of it so far."""

    base: str
    port: int
    log: Path

    @property
    def sitemap(self) -> str:
        """The address of its sitemap."""
        return f"{self.base}/sitemap.xml"

    def requests(self) -> list[str]:
        """Return the paths that were asked for, in order, one for each request."""
        return [json.loads(line)["path"] for line in self.log.read_text().splitlines()]


def _command(corpus: Path, *options: str) -> list[str]:
    return [sys.executable, str(corpus / "serve_site.py"), str(corpus / "site-a"), *options]


@contextmanager
def corpus_site(corpus: Path, log: Path, *faults: str, port: int = 0) -> Iterator[CorpusSite]:
    """Serve `site-a` with faults, as `serve_site.py --help` lists them, for the length of the block."""
    log.touch()
    command = _command(corpus, "--port", str(port), "--log", str(log), *faults)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            facts = json.loads(process.stdout.readline())
            yield CorpusSite(facts["base"], facts["port"], log)
        finally:
            process.terminate()


def planned_faults(corpus: Path, *faults: str) -> dict[str, dict[str, Any]]:
    """Return the fault of every URL path that has one; `times` is None when it never ends."""
    command = _command(corpus, *faults, "--plan")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    plan: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return plan


def sitemap_of(*urls: str) -> bytes:
    """Return a sitemap that lists the URLs."""
    places = "".join(f"<url><loc>{url}</loc></url>" for url in urls)
    return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{places}</urlset>'.encode()


@dataclass(slots=True)
class Page:
    """What a path answers: a body, or `write`, which is given the stream to write one to.

    The first `failures` requests are answered with `status` and `headers` alone. `asked` are the times of
    all requests (`time.monotonic`).
    """

    body: bytes = b""
    content_type: str = HTML
    write: Callable[[BufferedIOBase], None] | None = None
    failures: int = 0
    status: int = 503
    headers: Callable[[], Mapping[str, str]] = dict
    asked: list[float] = field(default_factory=list)


class CountedPages(dict[str, Page]):
    """The pages of a site by path, and every path that was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, path: str, default: Any = None) -> Any:
        """Return a page, and note that it was asked for."""
        self.asked.append(path)
        return super().get(path, default)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    pages: Mapping[str, Page]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path)
        if page is None:
            self.send_error(404)
            return
        page.asked.append(time.monotonic())
        if len(page.asked) <= page.failures:
            self.send_response(page.status)
            for name, value in page.headers().items():
                self.send_header(name, value)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", page.content_type)
        self.end_headers()
        self.wfile.write(page.body)
        if page.write is not None:
            page.write(self.wfile)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@contextmanager
def served_pages(pages: Mapping[str, Page]) -> Iterator[str]:
    """Serve the pages by path, from a thread, and yield the address. The mapping may grow meanwhile."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.pages = pages
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
