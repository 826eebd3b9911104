"""The two streams of an execution, through the real server over loopback sockets."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from factflow_execution import event_streams, storage_event_streamer
from factflow_server.app import create_app
from factflow_server.container import Container
from factflow_server.serving import Server, listen, url_of
from factflow_server.settings import ServerSettings
from factflow_server.startup import running
from factflow_testing.waiting import eventually


class Event(NamedTuple):
    """One event, as it came."""

    event: str
    id: str
    data: str

    def json(self) -> Any:
        return json.loads(self.data)


@asynccontextmanager
async def serving(settings: ServerSettings) -> AsyncIterator[tuple[Server, Container, Any]]:
    """A server that listens, its parts, and a client of it."""
    with listen("127.0.0.1", 0) as listener:
        url = f"{url_of(listener)}/api/v1"
        async with running(settings) as container:
            server = Server(create_app(container), container, settings, on_ready=lambda: None)
            task = asyncio.create_task(server.serve(sockets=[listener]))
            async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
                yield server, container, client
            server.stop()
            await task


async def launch(client: httpx2.AsyncClient, config_yaml: str, **init: Any) -> str:
    stored = (await client.post("/configs", json={"config_yaml": config_yaml})).json()
    answer = await client.post(f"/configs/{stored['id']}/run", json=init or None)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["execution_id"])


async def events(
    client: httpx2.AsyncClient, where: str, last_id: str | None = None, **query: Any
) -> AsyncGenerator[Event, None]:
    """Yield what a stream tells, without blocks that only carry an id."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with client.sse(where, headers=headers, params=query) as source:
        source.response.raise_for_status()
        async for event in source:
            if event.data:
                yield Event(event.event, event.id, event.data)


async def whole(client: httpx2.AsyncClient, where: str, **query: Any) -> list[Event]:
    async with asyncio.timeout(60):
        return [event async for event in events(client, where, **query)]


def outcomes(told: list[Event]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (row["route_id"], row["stage"], row["message_id"], row["outcome"])
        for row in (event.json() for event in told if event.event != "end")
    )


async def records(client: httpx2.AsyncClient, execution_id: str) -> Counter[tuple[Any, ...]]:
    """What lineage lists of an execution, whose rows are made from its records."""
    found = await client.get("/lineage", params={"execution_id": execution_id, "limit": 1000})
    page = found.json()
    assert not page["has_more"]
    return Counter(
        (row["route_id"], row["stage"], row["message_id"], row["outcome"])
        for row in page["entries"]
    )


async def test_every_outcome_is_told_once_and_then_the_end(
    settings: ServerSettings, numbers_yaml: str
) -> None:
    """A client that comes when all is over gets everything; one that has had the end gets 204."""
    async with serving(settings) as (_, _, client):
        run = await launch(client, numbers_yaml, upto=5)
        where = f"/executions/{run}/storage-stream"
        told = await whole(client, where)
        assert outcomes(told) == await records(client, run)
        assert told[-1].event == "end"
        end = told[-1].json()
        assert (end["status"], end["failed_count"], end["complete"]) == ("failed", 1, True)
        stored = [event.json() for event in told if event.event == "stored"]
        assert {row["content_type"] for row in stored} == {"application/json"}
        [first] = {row["size"] for row in stored if row["key"].endswith(".json")} & {12}
        [failed] = [event.json() for event in told if event.event == "failed"]
        assert (first, failed["error"]["type"]) == (12, "PermanentError")
        assert outcomes(await whole(client, where)) == outcomes(told)
        again = await client.get(where, headers={"Last-Event-ID": told[-1].id})
        assert (again.status_code, again.content) == (204, b"")
        of_route = await whole(client, where, route="squares")
        assert {event.json()["route_id"] for event in of_route[:-1]} == {"squares"}
        assert [event.event for event in await whole(client, where, new_only=True)] == ["end"]


async def test_events_tell_an_execution_from_its_start_to_its_end(
    settings: ServerSettings, gated_yaml: str, tmp_path: Path
) -> None:
    """Pauses of its routes are told while it runs, progress without an id; a latecomer gets the same."""
    async with serving(settings) as (_, _, client):
        run = await launch(client, gated_yaml)
        where = f"/executions/{run}/events"
        seen: list[Event] = []
        async with asyncio.timeout(60), aclosing(events(client, where)) as source:
            async for event in source:
                seen.append(event)
                if len(seen) == 1:
                    await client.patch("/pipelines/gated", json={"state": "paused"})
                if event.event == "route_paused":
                    await client.patch("/pipelines/gated", json={"state": "running"})
                    (tmp_path / "open").touch()
        kinds = [event.event for event in seen if event.event != "progress"]
        assert kinds == ["started", "route_paused", "route_resumed", "end"]
        [route] = [e for e in seen if e.event == "progress"][-1].json()["routes"]
        assert (route["route_id"], route["completed"]) == ("gated", 1)
        assert seen[-1].json()["status"] == "completed"
        ids = {event.id: event.event for event in seen}
        late = [e.event for e in await whole(client, where) if e.event != "progress"]
        assert late == kinds
        first = min(ids, key=int)
        rest = [event.event async for event in events(client, where, last_id=first)]
        assert [kind for kind in rest if kind != "progress"] == kinds[1:]
        gone = await client.get(where, headers={"Last-Event-ID": seen[-1].id})
        assert gone.status_code == 204


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("stream", ["events", "storage-stream"])
@pytest.mark.parametrize("last_id", ["x", "-1", "999999", "1-0123456789ab", "9" * 30])
async def test_an_id_of_no_event_of_the_stream_is_refused(
    stream: str, last_id: str, shared_client: httpx2.AsyncClient, numbers_yaml: str
) -> None:
    client = shared_client
    run = await launch(client, numbers_yaml)
    answer = await client.get(f"/executions/{run}/{stream}", headers={"Last-Event-ID": last_id})
    assert (answer.status_code, answer.json()["error_code"]) == (422, "event_unknown")
    unknown = await client.get(f"/executions/nobody/{stream}")
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, "execution_not_found")


@pytest.mark.parametrize("reconnects", [60, pytest.param(1_000, marks=pytest.mark.long)])
async def test_reconnects_lose_and_repeat_nothing(
    reconnects: int, settings: ServerSettings, numbers_yaml: str
) -> None:
    """Cut after a few events each, while the execution runs and others write beside it."""
    chance = random.Random(7)
    async with serving(settings) as (_, container, client):
        other = await launch(client, numbers_yaml, upto=reconnects)
        run = await launch(client, numbers_yaml, upto=reconnects)
        where = f"/executions/{run}/storage-stream"
        told: list[Event] = []
        last_id: str | None = None
        for _ in range(reconnects):
            left = chance.randint(0, 3)
            async with asyncio.timeout(60), aclosing(events(client, where, last_id)) as source:
                while left and (event := await anext(source, None)):
                    told.append(event)
                    last_id = event.id
                    left -= 1
        if told[-1].event != "end":
            told += [event async for event in events(client, where, last_id)]
        assert told[-1].event == "end"
        await client.post(f"/executions/{other}/wait", json={"timeout": 60})
        listed: Counter[tuple[Any, ...]] = Counter()
        for route in ("numbers", "squares"):
            listed += await _all_rows(client, run, route)
        assert outcomes(told) == listed
        assert max(listed.values()) == 1
        await eventually(lambda: container.changes.listeners == 0)


async def _all_rows(client: httpx2.AsyncClient, run: str, route: str) -> Counter[tuple[Any, ...]]:
    rows: list[dict[str, Any]] = []
    while True:
        query: dict[str, Any] = {
            "execution_id": run,
            "route_id": route,
            "limit": 1000,
            "offset": len(rows),
        }
        page = (await client.get("/lineage", params=query)).json()
        rows += page["entries"]
        if not page["has_more"]:
            return Counter(
                (row["route_id"], row["stage"], row["message_id"], row["outcome"]) for row in rows
            )


async def test_a_client_that_does_not_read_holds_nothing_up(
    settings: ServerSettings, numbers_yaml: str
) -> None:
    """It is told the rest when it reads on, and leaves nothing behind when it goes away."""
    async with serving(settings) as (_, container, client):
        run = await launch(client, numbers_yaml, upto=900)
        where = f"/executions/{run}/storage-stream"
        async with aclosing(events(client, where)) as slow:
            told = [await anext(slow)]
            waited = await client.post(f"/executions/{run}/wait", json={"timeout": 60})
            assert waited.json()["completed"] is True
            told += [event async for event in slow]
        assert told[-1].event == "end"
        assert len(outcomes(told)) == len(told) - 1 == 1 + 900 + 899
        async with aclosing(events(client, where)) as leaving:
            await anext(leaving)
        await eventually(lambda: container.changes.listeners == 0)


async def test_a_stop_of_the_server_ends_its_streams(
    settings: ServerSettings, gated_yaml: str
) -> None:
    """What was cut off is told as interrupted; the next server goes on with the stream where it was."""
    async with serving(settings) as (server, _, client):
        run = await launch(client, gated_yaml)
        where = f"/executions/{run}/events"
        async with asyncio.timeout(60), aclosing(events(client, where)) as source:
            started = await anext(source)
            server.stop()
            rest = [event async for event in source if event.event != "progress"]
        assert [event.event for event in rest] == ["interrupted", "end"]
        assert [event.json()["status"] for event in rest] == ["interrupted", "interrupted"]
    async with serving(settings) as (_, _, client):
        (settings.data_dir.parent / "open").touch()
        later = [e async for e in events(client, where, started.id) if e.event != "progress"]
        assert [event.event for event in later] == ["interrupted", "resumed", "end"]
        assert later[-1].json()["status"] == "completed"


async def test_a_silent_stream_is_kept_open(
    settings: ServerSettings, gated_yaml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments go over it while nothing happens, and it ends when the time asked for is up."""
    for module in (event_streams, storage_event_streamer):
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
    async with serving(settings) as (_, container, client):
        run = await launch(client, gated_yaml)
        answer = await client.get(f"/executions/{run}/storage-stream", params={"timeout": 1})
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text.count(": ping\n\n") > 3
        assert "event: end" not in answer.text
        assert container.changes.listeners == 0
