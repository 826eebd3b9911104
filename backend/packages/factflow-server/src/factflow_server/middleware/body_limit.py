"""No request body larger than the limit is read into memory."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimitMiddleware:
    """Ends requests whose body is over `limit` bytes with 413, whether or not they announce it."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        received = int(announced) if announced.isdigit() else 0
        too_large = received > self._limit
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            if too_large:
                raise self._refusal()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise self._refusal()
            return message

        await self._app(scope, receive_counted, send)

    def _refusal(self) -> HTTPException:
        return HTTPException(
            413, f"the body is larger than {self._limit} bytes (FACTFLOW_MAX_BODY_BYTES)"
        )
