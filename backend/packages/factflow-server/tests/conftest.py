"""A whole server in this process, spoken to over its ASGI interface."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from pydantic import SecretStr

from factflow_server.app import create_app
from factflow_server.settings import ServerSettings
from factflow_server.startup import running
from factflow_testing.postgres_schemas import database_of

ADAPTERS = Path(__file__).parent / "arithmetic_adapters.py"


def settings_in(folder: Path) -> ServerSettings:
    """Return settings of a server that keeps everything in a folder, but tables where the tests are told."""
    (folder / "pipelines").mkdir()
    url = database_of(folder / "data")
    return ServerSettings(
        data_dir=folder / "data",
        database_url=None if url is None else SecretStr(url),
        adapters=(str(ADAPTERS), "factflow_testing.adapters"),
        pipelines=folder / "pipelines",
        shutdown_grace_seconds=0.2,
        max_concurrent_executions=3,
    )


@contextlib.asynccontextmanager
async def asked(settings: ServerSettings) -> AsyncIterator[httpx2.AsyncClient]:
    """Open a server and give who asks it."""
    async with running(settings) as container:
        transport = httpx2.ASGITransport(app=create_app(container))
        base = "http://127.0.0.1:8000/api/v1"
        async with httpx2.AsyncClient(transport=transport, base_url=base, timeout=60) as client:
            yield client


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return settings_in(tmp_path)


@pytest.fixture
async def client(settings: ServerSettings) -> AsyncIterator[httpx2.AsyncClient]:
    async with asked(settings) as client:
        yield client


@pytest.fixture(scope="module")
def shared_settings(tmp_path_factory: pytest.TempPathFactory) -> ServerSettings:
    return settings_in(tmp_path_factory.mktemp("shared"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_client(shared_settings: ServerSettings) -> AsyncIterator[httpx2.AsyncClient]:
    """One server for those of a module's tests that do not mind what others leave in it.

    They are marked `asyncio(loop_scope="module")`, to run in the loop that it runs in.
    """
    async with asked(shared_settings) as client:
        yield client


@pytest.fixture(scope="session")
def numbers_yaml() -> str:
    return """\
version: "1.0"
name: numbers
routes:
  numbers:
    inbound: {queue: numbers}
    adapters:
      - type: count_up
      - type: square
        config: {fail_on: 3}
    outbound: squares
  squares:
    name: Squares of squares
    inbound: {queue: squares}
    adapters:
      - type: square
        stage: again
init_message:
  route: numbers
  payload: {upto: 2}
"""


@pytest.fixture
def gated_yaml(tmp_path: Path) -> str:
    return f"""\
version: "1.0"
name: gated
routes:
  gated:
    inbound: {{queue: gated}}
    adapters: [{{type: gate, config: {{path: "{tmp_path / "open"}"}}}}]
init_message: {{route: gated, payload: {{text: wait}}}}
"""
