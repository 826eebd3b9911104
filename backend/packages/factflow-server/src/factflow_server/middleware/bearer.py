"""Who asks: a bearer token where the server has tokens, and what its scope allows."""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from factflow_server.access_tokens import AccessTokens, ApiToken, ScopeInsufficientError

Refuse = Callable[[int, str, str, str], Response]

READING = frozenset({"GET", "HEAD"})
READING_POSTS = re.compile(
    r"/api/v1/(configs/validate|executions/[^/]+/wait|(executions/[^/]+/)?replay)"
)
"""POSTs that change nothing. Of replays this holds for `dry_run`, which their endpoints check."""
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What probes ask, which have no token: they are told whether the server is well, and nothing else."""


class BearerMiddleware:
    """Answers 401 without a known token and 403 when it may only read; notes the token as the caller.

    Every path but those of probes needs a token. On a server without tokens everybody may do everything.
    """

    def __init__(self, app: ASGIApp, tokens: AccessTokens, refuse: Refuse) -> None:
        self._app = app
        self._tokens = tokens
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and self._tokens and scope["path"] not in OPEN_PATHS:
            caller = self._caller(Headers(scope=scope).get("authorization", ""))
            objection = self._objection(caller, scope["method"], scope["path"])
            if objection is not None:
                await objection(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    def _caller(self, authorization: str) -> ApiToken | None:
        scheme, _, token = authorization.partition(" ")
        return self._tokens.find(token.strip()) if scheme.lower() == "bearer" else None

    def _objection(self, caller: ApiToken | None, method: str, path: str) -> Response | None:
        if caller is None:
            response = self._refuse(
                401,
                "unauthenticated",
                "an access token is needed, and this is none that the server knows",
                "send it as Authorization: Bearer TOKEN; the command line reads FACTFLOW_API_TOKEN",
            )
            response.headers["WWW-Authenticate"] = 'Bearer realm="factflow"'
            return response
        if caller.may_change or method in READING:
            return None
        if method == "POST" and READING_POSTS.fullmatch(path):
            return None
        error = ScopeInsufficientError()
        response = self._refuse(403, error.code, error.message, error.hint)
        response.headers["WWW-Authenticate"] = 'Bearer realm="factflow", error="insufficient_scope"'
        return response
