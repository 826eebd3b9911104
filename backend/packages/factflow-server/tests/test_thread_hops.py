"""How often a request waits for a thread: behind a busy event loop each time costs what the loop is doing."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from factflow_infra.queue.writer import Writer


@pytest.mark.parametrize(
    ("path", "hops"),
    [
        ("/executions", 2),
        ("/executions?status=completed&limit=10", 2),
        ("/executions/{id}/dag", 1),
        ("/configs", 1),
    ],
)
async def test_a_listing_takes_a_hop_to_a_thread_for_each_question(
    client: httpx2.AsyncClient,
    numbers_yaml: str,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    hops: int,
) -> None:
    config = (await client.post("/configs", json={"config_yaml": numbers_yaml})).json()["id"]
    execution = (await client.post("/executions", json={"config_id": config})).json()["id"]
    await client.post(f"/executions/{execution}/wait")
    where = path.format(id=execution)
    await client.get(where)  # connections are opened once
    loop = asyncio.get_running_loop()
    plain, returned = loop.call_soon_threadsafe, []

    def counted(*arguments: Any, **more: Any) -> asyncio.Handle:
        if not isinstance(getattr(arguments[0], "__self__", None), Writer):
            returned.append(arguments)  # the queue's own thread may still tidy up after the run
        return plain(*arguments, **more)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    answer = await client.get(where)
    assert answer.status_code == 200
    assert len(returned) <= hops, returned
