"""Connections: who of the two sides ends an idle one."""

from __future__ import annotations

import httpx2

from factflow_server.app import create_app
from factflow_server.serving import Server
from factflow_server.settings import ServerSettings
from factflow_server.startup import running


async def test_an_idle_connection_is_ended_by_the_client_and_not_under_its_hands(
    settings: ServerSettings,
) -> None:
    """Were it ended here first, a client that uses it again just then would see a reset."""
    clients = httpx2.Limits().keepalive_expiry
    assert clients is not None
    async with running(settings) as container:
        server = Server(create_app(container), container, settings, on_ready=lambda: None)
        assert server.config.timeout_keep_alive >= 2 * clients
