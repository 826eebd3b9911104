"""The database of configs and executions that goes with a folder."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution import schema
from factflow_infra.database import sqlite_engine
from factflow_infra.postgres import postgres_engine
from factflow_infra.schema import bring_up_to_date
from factflow_testing.postgres_schemas import database_of


async def execution_database(folder: Path) -> AsyncEngine:
    """Return an engine that writes the folder's database, with its tables; the caller disposes of it."""
    url = database_of(folder)
    engine = sqlite_engine(folder / "factflow.db") if url is None else postgres_engine(url)
    await bring_up_to_date(engine, schema)
    return engine
