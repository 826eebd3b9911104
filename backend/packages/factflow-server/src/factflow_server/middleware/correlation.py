"""A name for every request, in its answer, in its log lines and in its errors."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Correlation-ID"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_current: ContextVar[str] = ContextVar("factflow_correlation_id", default="")


def correlation_id() -> str:
    """Return the id of the request being served, '' outside of any."""
    return _current.get()


class CorrelationMiddleware:
    """Takes the client's `X-Correlation-ID` (letters, digits, `._-`, at most 64) or draws one.

    An exception that nothing handled ends here: `on_error` makes the answer, if none has begun.
    """

    def __init__(self, app: ASGIApp, on_error: Callable[[BaseException], Response]) -> None:
        self._app = app
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        name = given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
        token = _current.set(name)
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        try:
            with structlog.contextvars.bound_contextvars(correlation_id=name):
                try:
                    await self._app(scope, receive, send_named)
                except Exception as error:
                    response = self._on_error(error)
                    if started:
                        raise
                    await response(scope, receive, send_named)
        finally:
            _current.reset(token)
