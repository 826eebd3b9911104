"""Only this machine may ask, or a host that was allowed, and no web page on anybody's behalf.

A page from elsewhere can point its own host name at 127.0.0.1 (DNS rebinding) or send requests across
origins. Both carry names that are not ours, in `Host` or `Origin`, or are called cross-site by the browser,
and are refused. No answer carries a CORS header.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from factflow_server.settings import is_loopback

Refuse = Callable[[int, str, str, str], Response]


class LoopbackMiddleware:
    """Answers 403 to requests whose `Host` or `Origin` is neither loopback nor among `allowed` (names
    or addresses, without port and brackets)."""

    def __init__(self, app: ASGIApp, refuse: Refuse, allowed: Collection[str] = ()) -> None:
        self._app = app
        self._refuse = refuse
        self._allowed = frozenset(host.lower() for host in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            response = self._objection(Headers(scope=scope))
            if response is not None:
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _objection(self, headers: Headers) -> Response | None:
        if not self._is_ours(_host_of("//" + headers.get("host", ""))):
            return self._refuse(
                403,
                "host_refused",
                "the Host header names neither this machine's loopback nor a host allowed at start",
                "ask http://127.0.0.1 with the server's port, or start it with --allowed-host NAME",
            )
        origin = headers.get("origin")
        elsewhere = origin is not None and not self._is_ours(_host_of(origin))
        if elsewhere or headers.get("sec-fetch-site") == "cross-site":
            return self._refuse(
                403, "origin_refused", "requests from web pages of other origins are refused", ""
            )
        return None

    def _is_ours(self, host: str) -> bool:
        return is_loopback(host) or host in self._allowed


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
