"""The HTTP API over real sockets, with answers that a test gives.

`Stub.answers` holds what is answered to `"METHOD /path"` (without the API prefix): a value (200), a
`(status, value)` pair, bytes, a `Told`, or a function of the `Asked` that returns one of these.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PREFIX = "/api/v1"


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; `path` is decoded and without the API prefix."""

    method: str
    path: str
    raw_path: str
    query: dict[str, str]
    body: Any
    last_id: str | None = None


@dataclass(frozen=True)
class Told:
    """A stream that tells some `(event, data)`, numbered from 1, and is over or, with `cut`, cut off."""

    events: Iterable[tuple[str, dict[str, Any]]]
    cut: bool = False


@dataclass
class Stub:
    """A listening server, what it answers, and what it was asked."""

    answers: dict[str, Any]
    asked: list[Asked] = field(default_factory=list)
    on_request: Callable[[Asked], None] = lambda _: None
    address: tuple[str, int] = ("127.0.0.1", 0)

    def __post_init__(self) -> None:
        stub = self

        class Handler(_Handler):
            owner = stub

        self.http = _Quiet(self.address, Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self._thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.02}
        )

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()

    def last(self, method: str, path: str) -> Asked:
        """Return the latest such request."""
        return [a for a in self.asked if (a.method, a.path) == (method, path)][-1]


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    owner: Stub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Say nothing on stderr."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        path = unquote(parts.path).removeprefix(PREFIX)
        asked = Asked(
            self.command,
            path,
            parts.path.removeprefix(PREFIX),
            dict(parse_qsl(parts.query)),
            json.loads(body) if body else None,
            self.headers.get("last-event-id"),
        )
        self.owner.asked.append(asked)
        self.owner.on_request(asked)
        answer = self.owner.answers.get(f"{self.command} {path}", not_found(f"nothing at {path}"))
        if callable(answer):
            answer = answer(asked)
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        self._send(status, value)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815  # the library's names

    def _send(self, status: int, value: Any) -> None:
        if value is ...:
            self.close_connection = True
            return  # hang up without a word
        if isinstance(value, Told):
            self._stream(value)
            return
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(value, bytes) else "application/json"
        if isinstance(value, bytes) and b"\0" in value:
            kind = "application/octet-stream"
        self.send_header("Content-Type", kind)
        if 300 <= status < 400:
            self.send_header("Location", "https://elsewhere.example/")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status != 204:
            self.wfile.write(data)

    def _stream(self, told: Told) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        if told.cut:
            self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"retry: 1000\n\n")
        for number, (name, data) in enumerate(told.events, 1):
            block = f": ping\n\nevent: {name}\ndata: {json.dumps(data)}\nid: {number}\n\n"
            self.wfile.write(block.encode())
            self.wfile.flush()


def error(status: int, code: str, detail: str, hint: str = "", **more: Any) -> tuple[int, Any]:
    """Return an error answer as the API promises it."""
    return status, {
        "detail": detail,
        "error_code": code,
        "hint": hint,
        "correlation_id": "c0ffee",
        "timestamp": "2026-03-01T09:30:00Z",
        **more,
    }


def not_found(detail: str) -> tuple[int, Any]:
    """Return the answer for an id or key that is not known."""
    return error(404, "execution_not_found", detail, "factflow execution list")
