"""Real databases of both kinds, and entries that need only say what matters to a test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from factflow_lineage import (
    LineageService,
    PipelineLineageEntry,
    PipelineLineageRepository,
    create_schema,
    turns,
)
from factflow_lineage.tables import identity, schema

MakeEntry = Callable[..., PipelineLineageEntry]
SERVER = os.environ.get(
    "FACTFLOW_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"
)


def _make_entry(name: str, **fields: Any) -> PipelineLineageEntry:
    values: dict[str, Any] = {
        "id": name,
        "execution_id": "exec",
        "route_id": "crawl",
        "stage": "fetch",
        "adapter": "web_scraper",
        "message_id": f"message-{name}",
        "origin_id": f"origin-{name}",
        "status": "completed",
        "started_at": 1000.0,
    }
    values |= fields
    if values["status"] in {"completed", "failed"}:
        values.setdefault("completed_at", values["started_at"] + 0.1)
        values.setdefault("duration_ms", 100.0)
        values.setdefault("outcome", "failed" if values["status"] == "failed" else "stored")
    return PipelineLineageEntry(**values)


@pytest.fixture
def make_entry() -> MakeEntry:
    """Make an entry; a name is enough."""
    return _make_entry


async def _ask_server(*statements: str) -> None:
    connection = await asyncpg.connect(SERVER, timeout=5)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL database of this session's own, with the lineage tables in it."""
    name = f"factflow_lineage_{uuid.uuid4().hex[:12]}"
    address = sa.make_url(SERVER)

    async def make_tables() -> None:
        engine = create_async_engine(url)
        await create_schema(engine)
        await engine.dispose()

    try:
        # Of the C locale, which leaves more to us than any other.
        asyncio.run(
            _ask_server(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
        )
    except (OSError, asyncpg.PostgresError) as error:
        if os.environ.get("FACTFLOW_TEST_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(f"no PostgreSQL at {address.render_as_string()}: {error}")
    url = address.set(drivername="postgresql+asyncpg", database=name).render_as_string(
        hide_password=False
    )
    asyncio.run(make_tables())
    yield url
    asyncio.run(_ask_server(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the SQLite file is."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "lineage.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{request.getfixturevalue('path')}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def open_engine(database_url: str) -> AsyncIterator[Callable[[], AsyncEngine]]:
    """Open engines on the database; they are disposed of after the test."""
    engines: list[AsyncEngine] = []
    in_file = database_url.startswith("sqlite")

    def open_one() -> AsyncEngine:
        options: dict[str, Any] = {"connect_args": {"timeout": 0.02}} if in_file else {}
        engine = create_async_engine(database_url, **options)
        engines.append(engine)
        return engine

    if not in_file:
        async with open_one().begin() as connection:
            for table in schema.tables.values():
                if table is not identity:
                    await connection.execute(sa.delete(table))
    yield open_one
    for engine in engines:
        await engine.dispose()


Locking = Callable[[], contextlib.AbstractAsyncContextManager[None]]


@pytest.fixture
def locked(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Locking:
    """Hold the database as a stuck backup or a second program would; writers wait for 50 ms at most."""
    monkeypatch.setattr(turns, "LONGEST_WAIT", "50ms")
    address = sa.make_url(database_url)

    @contextlib.asynccontextmanager
    async def file_locked() -> AsyncIterator[None]:
        with contextlib.closing(sqlite3.connect(address.database or "", isolation_level=None)) as c:
            c.execute("BEGIN EXCLUSIVE")
            yield
            c.execute("ROLLBACK")

    @contextlib.asynccontextmanager
    async def table_locked() -> AsyncIterator[None]:
        plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
        other = await asyncpg.connect(plain)
        await other.execute("BEGIN; LOCK TABLE lineage_rows")
        yield
        await other.close()

    return file_locked if address.get_backend_name() == "sqlite" else table_locked


@pytest.fixture
def snapshots(postgres_url: str) -> Iterator[None]:
    """Have the PostgreSQL database show transactions one state unless asked otherwise: the hardest case."""
    setting = f"ALTER DATABASE {sa.make_url(postgres_url).database} "
    setting += "SET default_transaction_isolation TO"
    asyncio.run(_ask_server(f"{setting} 'repeatable read'"))
    yield
    asyncio.run(_ask_server(f"{setting} DEFAULT"))


@pytest.fixture
def gone(postgres_url: str) -> Locking:
    """Cut all connections to the PostgreSQL database, and let no others come."""
    name = sa.make_url(postgres_url).database

    @contextlib.asynccontextmanager
    async def unreachable() -> AsyncIterator[None]:
        await _ask_server(
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
        try:
            yield
        finally:
            await _ask_server(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    return unreachable


@pytest.fixture
async def service(open_engine: Callable[[], AsyncEngine]) -> AsyncIterator[LineageService]:
    """A running writer."""
    engine = open_engine()
    await create_schema(engine)
    running = LineageService(engine, flush_interval=0.01)
    await running.start()
    yield running
    await running.close()


@pytest.fixture
def repository(open_engine: Callable[[], AsyncEngine]) -> PipelineLineageRepository:
    return PipelineLineageRepository(open_engine())
