"""Databases of every earlier version become what an empty one is given, with what they hold."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution import schema
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.tables import metadata
from factflow_infra.postgres import postgres_engine
from factflow_infra.schema import DatabaseNewerError, bring_up_to_date
from factflow_testing.reflection import clear, migrate_step_by_step, reflected

VERSIONS = f"{schema.NAME}_schema_version"
FIRST_TABLES = {"pipeline_config", "pipeline_config_version", "pipeline_execution"}
FIRST_COLUMNS = [
    "execution_id",
    "config_id",
    "config_name",
    "config_version",
    "config_hash",
    "config_snapshot",
    "status",
    "started_at",
    "completed_at",
    "parent_execution_id",
    "replay_source",
    "tag",
    "source",
    "metadata",
    "error_info",
    "message_count",
    "failed_count",
    "warning",
    "lineage_gap",
    "recoveries",
    "cancel_requested",
    "skip_init",
]
"""Of executions, in the first version of which there are data folders."""


async def first_version(engine: AsyncEngine) -> None:
    """Make a database as the first version made it, with an execution in it."""
    old = sa.MetaData()
    for name in FIRST_TABLES:
        metadata.tables[name].to_metadata(old)
    table = old.tables["pipeline_execution"]
    later = [column for column in table.columns if column.name not in FIRST_COLUMNS]
    for index in list(table.indexes):
        if set(index.columns) & set(later):
            table.indexes.discard(index)
    for column in later:
        table._columns.remove(column)  # what a table cannot be asked to do
    row = {
        "execution_id": "execution-1",
        "config_name": "kept",
        "config_hash": "0" * 64,
        "config_snapshot": "routes: {}\n",
        "status": "completed",
        "started_at": 1.5,
        "source": "api",
        "metadata": {"ticket": 7},
    }
    async with engine.begin() as connection:
        await connection.run_sync(old.create_all)
        await connection.execute(table.insert().values(row))


async def test_an_old_database_becomes_what_a_new_one_is_and_keeps_its_rows(
    engine: AsyncEngine,
) -> None:
    fresh = await reflected(engine)
    await clear(engine)
    await first_version(engine)
    await bring_up_to_date(engine, schema)
    assert await reflected(engine) == fresh
    kept = await ExecutionRepository(engine).get("execution-1")
    assert kept is not None
    assert (kept.config_name, kept.metadata, kept.generation) == ("kept", {"ticket": 7}, 1)


async def test_every_version_becomes_what_a_new_database_is(engine: AsyncEngine) -> None:
    fresh = await reflected(engine)
    await clear(engine)
    await migrate_step_by_step(engine, schema)
    assert await reflected(engine) == fresh


async def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(
    engine: AsyncEngine,
) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text(f"UPDATE {VERSIONS} SET version_num = '9999'"))
    before = await reflected(engine)
    with pytest.raises(DatabaseNewerError, match="9999"):
        await bring_up_to_date(engine, schema)
    assert await reflected(engine) == before


async def test_a_migration_that_fails_changes_nothing(engine: AsyncEngine, tmp_path: Path) -> None:
    folder = tmp_path / "migrations" / "versions"
    folder.mkdir(parents=True)
    for file in (schema.MIGRATIONS / "versions").glob("m*.py"):
        (folder / file.name).write_text(file.read_text())
    (folder / "m9998_half.py").write_text(
        f'from alembic import op\nrevision, down_revision = "9998", "{schema.HEAD}"\n'
        'def upgrade():\n    op.execute("CREATE TABLE half (x INTEGER)")\n'
        '    op.execute("DELETE FROM execution_lease")\n    op.execute("SELECT nothing FROM nowhere")\n'
    )
    before = await reflected(engine)
    broken = SimpleNamespace(
        NAME=schema.NAME, METADATA=metadata, HEAD="9998", MIGRATIONS=folder.parent
    )
    with pytest.raises(DBAPIError, match="nowhere"):
        await bring_up_to_date(engine, broken)
    assert await reflected(engine) == before
    await bring_up_to_date(engine, schema)  # the program before it goes on


async def test_servers_that_start_at_once_on_an_empty_database_all_find_its_tables(
    postgres: AsyncEngine, postgres_url: str
) -> None:
    await clear(postgres)
    engines = [postgres_engine(postgres_url, pool_size=1) for _ in range(5)]
    await asyncio.gather(*(bring_up_to_date(engine, schema) for engine in engines))
    for engine in engines:
        await engine.dispose()
    assert set(await reflected(postgres)) == {*metadata.tables, VERSIONS}


def test_a_start_loads_no_migration_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from factflow_execution import schema\n"
        "from factflow_infra.database import sqlite_engine\n"
        "from factflow_infra.schema import bring_up_to_date\n"
        "async def start(path):\n"
        "    engine = sqlite_engine(pathlib.Path(path))\n"
        "    await bring_up_to_date(engine, schema)\n"
        "    await engine.dispose()\n"
        "asyncio.run(start(sys.argv[1]))\n"
        "assert 'alembic' not in sys.modules\n"
    )
    for _ in ("a new database", "one that is up to date"):
        subprocess.run([sys.executable, "-c", program, tmp_path / "factflow.db"], check=True)
