"""What endpoints are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from factflow_server.container import Container


def get_container(request: Request) -> Container:
    """Return the container of the app that serves this request."""
    container: Container = request.app.state.container
    return container


Services = Annotated[Container, Depends(get_container)]
