"""Serves a folder on a free loopback port, from a thread, and notes every request."""

from __future__ import annotations

import threading
import time
from collections import Counter
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

ANSWER_SECONDS = 0.1
"""Every answer takes as long as one from a real site might."""


class SiteServer:
    """A site that is up inside its `with` block; the log survives it.

    `log` takes one line for each request: method, path, status.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._lines: IO[str] | None = None

        def handler(*arguments: Any) -> _Handler:
            return _Handler(*arguments, site=self, directory=str(folder))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """The site's root, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def requests(self) -> Counter[str]:
        """Return how often each path was asked for until now."""
        with self._lock:
            return Counter(self._requests)

    def note(self, method: str, path: str, status: int) -> None:
        """Count a request and write its line."""
        with self._lock:
            self._requests[path] += 1
            if self._lines is not None:
                self._lines.write(f"{method} {path} {status}\n")
                self._lines.flush()

    def __enter__(self) -> Self:
        self._lines = self._log.open("w", encoding="utf-8")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._lock:
            if self._lines is not None:
                self._lines.close()
                self._lines = None


class _Handler(SimpleHTTPRequestHandler):
    """Files only: a folder without a page is not found."""

    server_version = "DemoSite"
    sys_version = ""

    def __init__(self, *arguments: Any, site: SiteServer, directory: str) -> None:
        self._site = site
        super().__init__(*arguments, directory=directory)

    def do_GET(self) -> None:
        time.sleep(ANSWER_SECONDS)
        super().do_GET()

    def list_directory(self, path: Any) -> None:  # noqa: ARG002  # the parent's signature
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002  # the parent's signature
        status = int(code) if isinstance(code, int | HTTPStatus) else 0
        self._site.note(self.command, self.path, status)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the parent's signature
        """Say nothing on the terminal."""
