"""The HTTP application: routers, guards, one shape of errors. It holds no state but its container."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from factflow_server import errors
from factflow_server.api import (
    adapters,
    audit,
    configs,
    content,
    deletions,
    executions,
    lineage,
    pipelines,
    probes,
    replay,
    storage,
    streams,
    system,
    why,
)
from factflow_server.api.schemas.errors import ErrorResponse
from factflow_server.container import Container
from factflow_server.middleware.bearer import BearerMiddleware
from factflow_server.middleware.body_limit import BodyLimitMiddleware
from factflow_server.middleware.correlation import CorrelationMiddleware
from factflow_server.middleware.loopback import LoopbackMiddleware
from factflow_server.middleware.request_head import RequestHeadMiddleware
from factflow_server.openapi import describe

PREFIX = "/api/v1"
_DOMAINS = (
    configs,
    deletions,
    executions,
    streams,
    audit,
    pipelines,
    replay,
    storage,
    content,
    lineage,
    adapters,
    system,
    why,
)

_ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorResponse}}


def create_app(container: Container) -> FastAPI:
    """Return the application that serves `container`, which is open and stays the caller's."""
    app = FastAPI(
        title="Factflow",
        version=container.version,
        summary="Pipelines whose every stage is stored and can be run again.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.container = container
    # Not through a router of them all, for which each endpoint would be made up twice.
    for domain in _DOMAINS:
        app.include_router(domain.router, prefix=PREFIX, responses=_ERRORS)
    app.include_router(probes.router, responses=_ERRORS)
    errors.install(app)
    describe(app, with_tokens=bool(container.settings.tokens))
    # The last one added is the first to be passed.
    settings = container.settings
    app.add_middleware(BodyLimitMiddleware, limit=settings.max_body_bytes)
    app.add_middleware(RequestHeadMiddleware, refuse=errors.answer)
    app.add_middleware(BearerMiddleware, tokens=settings.tokens, refuse=errors.answer)
    app.add_middleware(LoopbackMiddleware, refuse=errors.answer, allowed=settings.hosts)
    app.add_middleware(CorrelationMiddleware, on_error=errors.internal_error)
    return app
