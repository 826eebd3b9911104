"""A server whose configs and executions are in PostgreSQL, while that comes and goes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2
import pytest
from pydantic import SecretStr

from factflow_infra import database_lock
from factflow_infra.database_lock import DatabaseLockedError
from factflow_server.app import create_app
from factflow_server.settings import ServerSettings
from factflow_server.startup import running
from factflow_testing.postgres_schemas import fresh_schema
from factflow_testing.tcp_gate import TcpGate
from factflow_testing.waiting import eventually

PASSWORD = "s3cret"


@dataclass
class Place:
    """A database behind a gate: its URL for the server, and its own."""

    gate: TcpGate
    url: str
    direct: str


@pytest.fixture
def place() -> Iterator[Place]:
    with fresh_schema() as direct:
        parts = urlsplit(direct)
        with TcpGate(parts.hostname or "127.0.0.1", parts.port or 5432) as gate:
            user = parts.username or "postgres"
            netloc = f"{user}:{PASSWORD}@127.0.0.1:{gate.port}"
            yield Place(gate, urlunsplit(parts._replace(netloc=netloc)), direct)


@pytest.fixture
def settings(settings: ServerSettings, place: Place) -> ServerSettings:
    return settings.model_copy(update={"database_url": SecretStr(place.url)})


@pytest.fixture
async def client(settings: ServerSettings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running(settings) as container:
        transport = httpx2.ASGITransport(app=create_app(container))
        base = "http://127.0.0.1:8000/api/v1"
        async with httpx2.AsyncClient(transport=transport, base_url=base, timeout=60) as client:
            yield client


async def database(client: httpx2.AsyncClient) -> dict[str, object]:
    health = (await client.get("/system/health", params={"debug": True})).json()
    assert PASSWORD not in json.dumps(health)
    [found] = [one for one in health["components"] if one["name"] == "database"]
    return dict(found)


async def test_an_execution_outlives_a_database_that_goes_and_comes_back(
    client: httpx2.AsyncClient,
    place: Place,
    gated_yaml: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = (await client.post("/configs", json={"config_yaml": gated_yaml})).json()["id"]
    started = (await client.post(f"/configs/{config}/run")).json()["execution_id"]
    assert (await database(client))["status"] == "healthy"
    place.gate.shut()
    for request in (
        client.get(f"/executions/{started}"),
        client.post(f"/configs/{config}/run"),
        client.get("/executions"),
    ):
        refused = await request
        assert (refused.status_code, refused.json()["error_code"]) == (503, "database_unavailable")
        assert refused.headers["retry-after"]
    trouble = await database(client)
    assert trouble["status"] == "unhealthy"
    debug = trouble["debug"]
    assert isinstance(debug, dict)
    assert debug["details"]["url"].endswith(f"@127.0.0.1:{place.gate.port}/postgres")
    assert "refused" in debug["details"]["trouble"] or "Connect call" in debug["details"]["trouble"]
    (tmp_path / "open").touch()  # its message goes through, and it ends, with nobody to tell

    async def the_end_waits() -> bool:
        debug = (await database(client))["debug"]
        assert isinstance(debug, dict)
        return bool(debug["details"]["final_statuses_waiting"])

    await eventually(the_end_waits)
    place.gate.open()

    async def it_is_written() -> bool:
        found = await client.get(f"/executions/{started}")
        return found.is_success and found.json()["status"] == "completed"

    await eventually(it_is_written)
    assert (await client.get("/executions")).json()["total"] == 1  # what was refused left nothing
    assert (await database(client))["status"] == "healthy"
    said = "".join(capfd.readouterr())
    assert PASSWORD not in said
    assert "Traceback" not in said


async def test_a_second_server_on_the_database_is_refused_though_its_folder_is_another(
    client: httpx2.AsyncClient,
    settings: ServerSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would take the first one's executions for cut off."""
    monkeypatch.setattr(database_lock, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(DatabaseLockedError) as raised:
        async with running(settings.model_copy(update={"data_dir": tmp_path / "other"})):
            pass
    assert PASSWORD not in raised.value.message
    assert (await database(client))["status"] == "healthy"


async def test_text_that_postgresql_has_no_place_for_is_refused(
    client: httpx2.AsyncClient, gated_yaml: str
) -> None:
    for refused in (
        await client.post("/configs", json={"config_yaml": gated_yaml, "description": "a\0b"}),
        await client.get("/executions/a%00b"),
    ):
        assert (refused.status_code, refused.json()["error_code"]) == (422, "invalid_request")
        assert "NUL" in refused.json()["detail"]
