"""Connections: who of the two sides ends an idle one; and what a server does while nobody asks."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime

import httpx2

from factflow_server.app import create_app
from factflow_server.serving import Server, listen, url_of
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


async def test_an_idle_server_sleeps_and_still_knows_the_date(settings: ServerSettings) -> None:
    """Nothing is due in the next seconds, no look at a flag and no clock; each answer is dated anew."""
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with running(settings) as container:
        listener = listen("127.0.0.1", 0)
        server = Server(create_app(container), container, settings, on_ready=ready.set)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await ready.wait()
        soon = loop.time() + 2
        timers = loop._scheduled  # type: ignore[attr-defined]  # there is no public way to ask
        assert not [timer for timer in timers if timer.when() < soon and not timer.cancelled()]
        async with httpx2.AsyncClient(base_url=url_of(listener)) as client:
            answer = await client.get("/api/v1/system/health")
        dated = parsedate_to_datetime(answer.headers["date"]).timestamp()
        assert abs(dated - time.time()) < 60
        server.stop()
        await serving
