"""A ledger that was migrated is what an empty database is given, on either database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_infra.database import sqlite_engine
from factflow_infra.postgres import postgres_engine
from factflow_infra.queue.ledger import schema
from factflow_infra.schema import bring_up_to_date
from factflow_testing.postgres_schemas import fresh_schema
from factflow_testing.reflection import clear, migrate_step_by_step, reflected


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    if request.param == "sqlite":
        engine = sqlite_engine(tmp_path / "ledger.db")
        yield engine
        await engine.dispose()
        return
    with fresh_schema() as url:
        engine = postgres_engine(url)
        yield engine
        await engine.dispose()


async def test_every_version_becomes_what_a_new_ledger_is(engine: AsyncEngine) -> None:
    await bring_up_to_date(engine, schema)
    fresh = await reflected(engine)
    assert {"queue_scope", "queue_name", "queue_message"} <= fresh.keys()
    await clear(engine)
    await migrate_step_by_step(engine, schema)
    assert await reflected(engine) == fresh
