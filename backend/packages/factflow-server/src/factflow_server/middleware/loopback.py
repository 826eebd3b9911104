"""Only this machine may ask, and no web page on its behalf.

A page from elsewhere can point its own host name at 127.0.0.1 (DNS rebinding) or send requests across
origins. Both carry names that are not loopback, in `Host` or `Origin`, and are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from factflow_server.settings import is_loopback

Refuse = Callable[[int, str, str, str], Response]


class LoopbackMiddleware:
    """Answers 403 to requests whose `Host` or `Origin` is not this machine's loopback."""

    def __init__(self, app: ASGIApp, refuse: Refuse) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            response = self._objection(Headers(scope=scope))
            if response is not None:
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _objection(self, headers: Headers) -> Response | None:
        if not is_loopback(_host_of("//" + headers.get("host", ""))):
            return self._refuse(
                403,
                "host_refused",
                "the Host header does not name this machine's loopback",
                "ask http://127.0.0.1 or http://localhost, with the server's port",
            )
        origin = headers.get("origin")
        if origin is not None and not is_loopback(_host_of(origin)):
            return self._refuse(
                403, "origin_refused", "requests from web pages of other origins are refused", ""
            )
        return None


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
