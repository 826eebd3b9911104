"""What a request's head must be like, before anything of its body is read."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Refuse = Callable[[int, str, str, str], Response]

MAX_URL_BYTES = 16 * 1024
MAX_HEADER_BYTES = 32 * 1024


class RequestHeadMiddleware:
    """Refuses long URLs (414), long headers (431), and bodies that are not called JSON (415).

    The last one also keeps forms of web pages out: a page can send one to any server, without asking it
    first, and none that is called JSON.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            response = self._objection(scope)
            if response is not None:
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _objection(self, scope: Scope) -> Response | None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
            return self._refuse(
                414, "url_too_long", f"the URL is longer than {MAX_URL_BYTES} bytes", ""
            )
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            return self._refuse(
                431,
                "headers_too_large",
                f"the headers are longer than {MAX_HEADER_BYTES} bytes",
                "",
            )
        headers = Headers(scope=scope)
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if has_body and not _is_json(headers.get("content-type", "")):
            return self._refuse(
                415,
                "unsupported_media_type",
                "a body has to be JSON, and to be called so",
                "send a JSON object with Content-Type: application/json",
            )
        return None


def _is_json(content_type: str) -> bool:
    name = content_type.partition(";")[0].strip().lower()
    return name == "application/json" or (
        name.startswith("application/") and name.endswith("+json")
    )
