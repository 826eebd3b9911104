"""Bringing a database to the tables that the program knows, whichever version made it.

Several schemas may share a database, or have one each: a schema's version stands in a table of its own. An
empty database is given today's tables at once. Otherwise the migrations between its version and today's are
run, as one transaction that others who start at the same time wait for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Protocol

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation import logs
from factflow_protocols.errors import FactflowError

LOCK_SECONDS = 60

_log = logs.logger(__name__)


class Schema(Protocol):
    """Tables that change together; a module serves.

    `HEAD` is the newest of the Alembic migrations in the folder `MIGRATIONS`, and makes of a database what
    `METADATA` makes of an empty one. It is known without loading any, which would cost every start.
    """

    @property
    def NAME(self) -> str: ...  # noqa: N802, D102 - a module's constant
    @property
    def METADATA(self) -> MetaData: ...  # noqa: N802, D102 - a module's constant
    @property
    def HEAD(self) -> str: ...  # noqa: N802, D102 - a module's constant
    @property
    def MIGRATIONS(self) -> Path: ...  # noqa: N802, D102 - a module's constant


class DatabaseNewerError(FactflowError):
    """The database was used by a later version of the program, which may have changed what rows mean."""

    code: ClassVar[str] = "database_newer"

    def __init__(self, schema: Schema, version: str) -> None:
        super().__init__(
            f"the {schema.NAME} database has version {version}, and this program knows none after "
            f"{schema.HEAD}",
            hint="start the version of Factflow that wrote it, or a later one; or use another database",
        )


async def bring_up_to_date(engine: AsyncEngine, schema: Schema) -> None:
    """Make a database's tables those of `schema`; rows are kept.

    Raises `DatabaseNewerError`, and what the driver raises: nothing is changed then.
    """
    async with engine.connect() as connection:
        version = await connection.run_sync(_version_in, _version_table(schema))
    if version != schema.HEAD:
        async with engine.begin() as connection:
            await connection.run_sync(_change, schema)


def _change(connection: Connection, schema: Schema) -> None:
    _wait_for_others(connection, schema)
    versions = _version_table(schema)
    version = _version_in(connection, versions)
    if version == schema.HEAD:
        return
    there = set(inspect(connection).get_table_names())
    if version is None and not there & set(schema.METADATA.tables):
        schema.METADATA.create_all(connection)
        versions.create(connection, checkfirst=True)
        connection.execute(versions.insert().values(version_num=schema.HEAD))
        return
    _migrate(connection, schema, version)
    _log.info("database migrated", schema=schema.NAME, was=version, version=schema.HEAD)


def _migrate(connection: Connection, schema: Schema, version: str | None) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(schema.MIGRATIONS))
    if version not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise DatabaseNewerError(schema, str(version))

    def steps(present: Any, _context: Any) -> Any:
        return scripts._upgrade_revs(schema.HEAD, present)

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        # Within our transaction, which Alembic finds and leaves to us.
        environment.configure(connection, version_table=_version_table(schema).name)
        environment.run_migrations()


def _wait_for_others(connection: Connection, schema: Schema) -> None:
    """Let one at a time change this schema, and let it take its time."""
    if connection.dialect.name != "postgresql":
        return  # a file has one writer, which has begun
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    own = connection.execute(text("SELECT current_schema()")).scalar_one()
    digest = hashlib.sha256(f"factflow {schema.NAME} in {own}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def _version_table(schema: Schema) -> Table:
    """Return the table as Alembic makes it."""
    return Table(
        f"{schema.NAME}_schema_version",
        MetaData(),
        Column("version_num", String(32), primary_key=True),
    )


def _version_in(connection: Connection, versions: Table) -> str | None:
    if not inspect(connection).has_table(versions.name):
        return None
    return connection.execute(select(versions.c.version_num)).scalar_one_or_none()
