"""Databases of every earlier version become what an empty one is given, with what they hold."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution import schema
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.tables import metadata
from factflow_infra.postgres import postgres_engine
from factflow_infra.schema import DatabaseNewerError, bring_up_to_date

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


async def reflected(engine: AsyncEngine) -> dict[str, Any]:
    """What the database says of its tables, without the order of columns."""

    def look(connection: sa.Connection) -> dict[str, Any]:
        found: dict[str, Any] = {}
        inspector = sa.inspect(connection)
        for name in inspector.get_table_names():
            columns = inspector.get_columns(name)
            found[name] = {
                "columns": {c["name"]: {k: str(v) for k, v in c.items()} for c in columns},
                "key": inspector.get_pk_constraint(name)["constrained_columns"],
                "indexes": sorted(map(shown, inspector.get_indexes(name))),
                "unique": sorted(map(str, inspector.get_unique_constraints(name))),
            }
        if connection.dialect.name == "sqlite":
            made = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"
            found["counting"] = connection.execute(sa.text(made)).scalars().all()
        return found

    def shown(index: Any) -> str:
        where = {name: str(option) for name, option in index["dialect_options"].items()}
        return f"{index['name']} {index['column_names']} {index['unique']} {where}"

    async with engine.connect() as connection:
        return await connection.run_sync(look)


async def clear(engine: AsyncEngine) -> None:
    """Leave a database without any table."""

    def drop(connection: sa.Connection) -> None:
        there = sa.MetaData()
        there.reflect(connection)
        there.drop_all(connection)

    async with engine.begin() as connection:
        await connection.run_sync(drop)


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
    """Migrated from nothing, one version after the other; the newest is the one that is known."""
    fresh = await reflected(engine)
    await clear(engine)
    files = sorted((schema.MIGRATIONS / "versions").glob("m*.py"))
    heads = [file.name[1:5] for file in files]
    assert heads[-1] == schema.HEAD
    async with engine.begin() as connection:  # not empty, so that it is migrated
        await connection.execute(
            sa.text(f"CREATE TABLE {VERSIONS} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        )
    nothing = sa.MetaData()
    sa.Table(VERSIONS, nothing)
    for head in heads:
        step = SimpleNamespace(
            NAME=schema.NAME, METADATA=nothing, HEAD=head, MIGRATIONS=schema.MIGRATIONS
        )
        await bring_up_to_date(engine, step)
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
