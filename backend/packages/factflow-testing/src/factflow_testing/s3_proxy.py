"""Between a store and its S3 server: counts requests, and lets some go wrong as networks and servers do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request instead of being answered: its connection breaks, after the server was
    asked (`asked`) or before; with a `status` it is that which comes back, and an S3 `code`."""

    asked: bool = False
    status: int | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came: `path` has its query."""

    method: str
    path: str


def _goes_well(asked: Asked) -> Fault | None:
    del asked
    return None


def _breaks(asked: Asked) -> Fault | None:
    del asked
    return Fault()


class S3Proxy:
    """A proxy at `url`. `fault` is asked about every request; what it returns happens to it.

    Without the header that makes a PUT conditional with `unconditional`, as servers of old have it.
    """

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.fault: Callable[[Asked], Fault | None] = _goes_well
        self.unconditional = False
        self.asked: Counter[str] = Counter()
        self.under_way = 0
        self.connections = 0
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def break_all(self) -> None:
        """From now on every connection breaks before anything is asked."""
        self.fault = _breaks

    def break_once(self, method: str, ending: str, fault: Fault) -> list[Asked]:
        """Let the next request of a method, whose path ends so, go wrong; return where it will stand."""
        met: list[Asked] = []

        def decide(asked: Asked) -> Fault | None:
            if met or asked.method != method or not asked.path.partition("?")[0].endswith(ending):
                return None
            met.append(asked)
            return fault

        self.fault = decide
        return met

    def mend(self) -> None:
        """From now on all goes well."""
        self.fault = _goes_well

    def close(self) -> None:
        """Stop, and break what is under way."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A broken connection is what is wanted here."""


def _handler(proxy: S3Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with proxy.lock:
                proxy.connections += 1
            self.upstream = http.client.HTTPConnection(proxy.target, timeout=60)

        def finish(self) -> None:
            self.upstream.close()
            with contextlib.suppress(OSError):
                super().finish()
            with proxy.lock:
                proxy.connections -= 1

        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path)
            with proxy.lock:
                proxy.asked[self.command] += 1
                proxy.under_way += 1
                fault = proxy.fault(asked)
            try:
                if fault is None:
                    self._answer(*self._ask(body))
                elif fault.status is not None:
                    text = f"<Error><Code>{fault.code}</Code></Error>".encode()
                    self._answer(fault.status, {}, b"" if self.command == "HEAD" else text)
                else:
                    if fault.asked:
                        self._ask(body)
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
            finally:
                with proxy.lock:
                    proxy.under_way -= 1

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            left_out = {"connection", "if-none-match"} if proxy.unconditional else {"connection"}
            headers = {k: v for k, v in self.headers.items() if k.lower() not in left_out}
            self.upstream.request(self.command, self.path, body, headers)
            answer = self.upstream.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815 - asked by name

    return Handler
