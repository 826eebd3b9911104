"""A database's tables as it tells of them itself: for tests of what migrations make."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_infra.schema import Schema, bring_up_to_date


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


async def migrate_step_by_step(engine: AsyncEngine, schema: Schema) -> None:
    """Migrate an empty database from nothing, one version after the other, to the one that is known."""
    versions = f"{schema.NAME}_schema_version"
    files = sorted((Path(schema.MIGRATIONS) / "versions").glob("m*.py"))
    heads = [file.name[1:5] for file in files]
    assert heads[-1] == schema.HEAD
    async with engine.begin() as connection:  # not empty, so that it is migrated
        await connection.execute(
            sa.text(f"CREATE TABLE {versions} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        )
    nothing = sa.MetaData()
    sa.Table(versions, nothing)
    for head in heads:
        step = SimpleNamespace(
            NAME=schema.NAME, METADATA=nothing, HEAD=head, MIGRATIONS=schema.MIGRATIONS
        )
        await bring_up_to_date(engine, step)
