"""What endpoints are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from factflow_server.access_tokens import ApiToken, ScopeInsufficientError
from factflow_server.container import Container


async def get_container(request: Request) -> Container:
    """Return the container of the app that serves this request.

    Asynchronous, as the framework calls plain functions in a thread: one more hop for every request.
    """
    container: Container = request.app.state.container
    return container


async def get_caller(request: Request) -> ApiToken | None:
    """Return the token a request came with; None on a server without tokens, where everybody may all."""
    caller: ApiToken | None = request.scope.get("state", {}).get("caller")
    return caller


def require_operator(caller: ApiToken | None) -> None:
    """Raise `ScopeInsufficientError` for a token that may only read."""
    if caller is not None and not caller.may_change:
        raise ScopeInsufficientError


Services = Annotated[Container, Depends(get_container)]
Caller = Annotated[ApiToken | None, Depends(get_caller)]
