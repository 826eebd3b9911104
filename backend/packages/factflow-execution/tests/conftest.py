"""A real database with the schema, for every test its own: in a file, or on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution import schema
from factflow_infra.database import sqlite_engine
from factflow_infra.postgres import postgres_engine
from factflow_infra.schema import bring_up_to_date
from factflow_testing.postgres_schemas import fresh_schema


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with fresh_schema() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    if request.param == "sqlite":
        engine = sqlite_engine(tmp_path / "factflow.db")
    else:
        engine = postgres_engine(request.getfixturevalue("postgres_url"))
    await bring_up_to_date(engine, schema)
    yield engine
    await engine.dispose()


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    engine = postgres_engine(postgres_url)
    await bring_up_to_date(engine, schema)
    yield engine
    await engine.dispose()


@pytest.fixture
async def other(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """Another server's engine on the same database; a file has one server only, and one engine."""
    if engine.dialect.name == "sqlite":
        yield engine
        return
    second = postgres_engine(request.getfixturevalue("postgres_url"))
    yield second
    await second.dispose()
