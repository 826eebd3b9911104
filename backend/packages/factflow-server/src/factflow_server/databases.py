"""The databases: files in the data folder, or one in PostgreSQL."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution import schema as execution_schema
from factflow_execution.database_reads import DatabaseReads
from factflow_execution.database_trouble import reason_of
from factflow_foundation.changes import Changes
from factflow_foundation.notifications import LocalNotifications, Notifications
from factflow_infra.database import sqlite_engine, sqlite_reader
from factflow_infra.schema import bring_up_to_date
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.writer import LineageService
from factflow_server.embedded import DataDir
from factflow_server.settings import ServerSettings, ServerStartError

if TYPE_CHECKING:
    from factflow_infra.database_lock import DatabaseLock

LINEAGE_READERS = 4
"""Connections to PostgreSQL that read lineage."""

_HINTS = {
    "disk is full": "free some space there",
    "Connect call failed": "is PostgreSQL running there? FACTFLOW_DATABASE_URL says where it is looked for",
    "no connection within": "can it be reached from here? FACTFLOW_DATABASE_URL says where it is looked for",
    "not known": "FACTFLOW_DATABASE_URL names the host",
    "password authentication failed": "FACTFLOW_DATABASE_URL has the user and the password",
    "permission denied": "grant the user what it lacks: GRANT CREATE, USAGE ON SCHEMA public TO …",
    "role ": "FACTFLOW_DATABASE_URL has the user; createuser makes one",
    "database ": "createdb makes one",
}
"""What to do about what SQLite and PostgreSQL say; the first one that is in it counts."""


class DatabaseUnusableError(ServerStartError):
    """The database of configs and executions cannot be opened."""

    code: ClassVar[str] = "database_unavailable"

    def __init__(self, where: str, error: Exception) -> None:
        cause = reason_of(error)
        hint = "restore it from a copy, or start with another --data-dir or FACTFLOW_DATABASE_URL"
        for words, more in _HINTS.items():
            if words in cause:
                hint = more
                break
        super().__init__(f"cannot open the database {where}: {cause}", hint=hint)


@dataclass(frozen=True, slots=True)
class Database:
    """The open database: what writes it, what reads it, and, on PostgreSQL, the lock that keeps it ours."""

    engine: AsyncEngine
    reads: DatabaseReads
    lock: DatabaseLock | None = None


async def open_database(
    settings: ServerSettings, data_dir: DataDir, stack: contextlib.AsyncExitStack
) -> Database:
    """Open the database of configs and executions, and bring its tables up to date.

    Raises `DatabaseUnusableError`, `DatabaseNewerError`, `DatabaseLockedError`.
    """
    where = where_of(settings)
    try:
        if settings.database_url is not None:
            return await _open_postgres(settings, where, stack)
        engine = sqlite_engine(data_dir.database, durability=settings.durability)
        stack.push_async_callback(engine.dispose)
        await bring_up_to_date(engine, execution_schema)
        reads = DatabaseReads(engine, sqlite_reader(data_dir.database))
        stack.push_async_callback(reads.close)
        return Database(engine, reads)
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseUnusableError(where, error) from error


async def open_lineage(
    settings: ServerSettings, data_dir: DataDir, changes: Changes, stack: contextlib.AsyncExitStack
) -> tuple[LineageService, PipelineLineageRepository]:
    """Open lineage for writing and for reading; a database in trouble does not keep us from starting."""
    if settings.database_url is None:
        writing = sqlite_engine(data_dir.lineage, many_writes=True)
        reading = sqlite_engine(data_dir.lineage, read_only=True)
    else:
        from factflow_infra.postgres import postgres_engine

        url = settings.database_url.get_secret_value()
        writing = postgres_engine(url, application_name="factflow lineage writer", pool_size=1)
        reading = postgres_engine(
            url, application_name="factflow lineage reader", pool_size=LINEAGE_READERS
        )
    for engine in (writing, reading):
        stack.push_async_callback(engine.dispose)
    lineage = LineageService(writing, changes=changes)
    await lineage.start()
    stack.push_async_callback(lineage.close)
    return lineage, PipelineLineageRepository(reading)


async def open_notifications(
    settings: ServerSettings, stack: contextlib.AsyncExitStack
) -> Notifications:
    """Open what tells the processes on one database of changes; with a file there is only this one."""
    if settings.database_url is None:
        local = LocalNotifications()
        stack.push_async_callback(local.close)
        return local
    from factflow_infra.notifications import PostgresNotifications

    url = settings.database_url.get_secret_value()
    notifications = PostgresNotifications(url, where_of(settings))
    stack.push_async_callback(notifications.close)
    await notifications.start()
    return notifications


def where_of(settings: ServerSettings) -> str:
    """Return where the database is, as it may be shown."""
    return settings.shown_database_url or str(DataDir.at(settings.data_dir).database)


async def _open_postgres(
    settings: ServerSettings, where: str, stack: contextlib.AsyncExitStack
) -> Database:
    from factflow_infra.database_lock import DatabaseLock
    from factflow_infra.postgres import postgres_engine

    url = settings.database_url.get_secret_value() if settings.database_url else ""
    engine = postgres_engine(url)
    stack.push_async_callback(engine.dispose)
    async with engine.connect():
        pass  # whoever cannot connect is told so by what all else connects with
    lock = None
    if (
        not settings.shares_work
    ):  # its queue is its own, so no other server could go on with anything
        lock = DatabaseLock(url, where)
        stack.push_async_callback(lock.release)
        await lock.take()
    await bring_up_to_date(engine, execution_schema)
    return Database(engine, DatabaseReads(engine), lock)
