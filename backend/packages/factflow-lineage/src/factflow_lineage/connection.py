"""The writer's own connection: opened when needed, dropped when anything about it is doubtful."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_foundation.logs import logger
from factflow_lineage.database_file import DatabaseFile, is_damage
from factflow_lineage.tables import (
    create_schema,
    drop_older_schema,
    schema_is_missing,
    schema_is_older,
    tables_identity,
)
from factflow_lineage.turns import limit_waits

log = logger(__name__)

_BINDING = "binding parameter"  # sqlite3 says so of values it cannot store, under changing classes


class OlderLineageError(OSError):
    """The database holds lineage of an earlier version, and nothing can be done about it."""


class WritingConnection:
    """One connection held between transactions; one transaction at a time.

    `tables_were_missing` is set when the database turned out to hold no lineage tables, which then
    were created, or others than before: it is new, or what was written before is lost. `set_aside` is where
    the last file is that turned out to be damaged, or of an earlier version.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._file = DatabaseFile(engine)
        self._identity: object = None
        """Of the tables that were written to last."""
        self.tables_were_missing = False
        self.set_aside: Path | None = None

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commit what is done inside, or roll it back and drop the connection.

        Raises what the driver raises.
        """
        try:
            connection = await self._open()
            async with connection.begin():
                yield connection
        except BaseException as error:
            await self.drop()
            if is_damage(error):
                self._set_aside()
            raise

    async def drop(self) -> None:
        """Close the connection, whatever state it is in; the next transaction opens another."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(SQLAlchemyError, OSError):
            await connection.invalidate()
        with contextlib.suppress(SQLAlchemyError, OSError):
            await connection.close()
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self._engine.dispose()

    def _set_aside(self) -> None:
        """Make room for a new file: what stood in a damaged one can be made again from records."""
        aside = self._file.set_aside()
        if aside is not None:
            log.warning("lineage database damaged", kept_as=str(aside))
            self.set_aside = aside

    async def _make_room(self, connection: AsyncConnection) -> AsyncConnection:
        """Do away with tables of an earlier version: rows are made again from records in any case, and
        from these take no longer than from the old ones. Return the connection to go on with."""
        if connection.dialect.name != "sqlite":
            async with connection.begin():
                await drop_older_schema(connection)
            log.warning("lineage tables are of an earlier version, and are made anew")
            return connection
        await self.drop()
        aside = self._file.set_aside("older")
        if aside is None:
            raise OlderLineageError(
                "the lineage database is of an earlier version and cannot be renamed"
            )
        log.warning("lineage database is of an earlier version", kept_as=str(aside))
        self.set_aside = aside
        return await self._engine.connect()

    async def _open(self) -> AsyncConnection:
        """Return the connection, to the tables that are there now."""
        if self._connection is not None and await self._present() != self._identity:
            # A deleted or exchanged SQLite file takes writes without a word, into nowhere.
            await self.drop()
        if self._connection is None:
            connection = self._connection = await self._engine.connect()
            await limit_waits(connection)
            async with connection.begin():
                older = await schema_is_older(connection)
            if older:
                connection = self._connection = await self._make_room(connection)
            async with connection.begin():
                missing = await schema_is_missing(connection)
                await create_schema(connection)
            present = await self._present()
            exchanged = self._identity not in {None, present}
            self.tables_were_missing |= missing or exchanged
            self._identity = present
        return self._connection

    async def _present(self) -> object:
        """Return what tells the tables that are there now from others: on SQLite, the file they are in."""
        connection = self._connection
        if connection is None or connection.dialect.name == "sqlite":
            return self._file.identity()
        async with connection.begin():
            return await tables_identity(connection)


def is_refusal(error: BaseException) -> bool:
    """Tell whether the database refuses a value of ours: trying the same again would not help."""
    told = getattr(error, "orig", None) or error
    sql_state = getattr(told, "sqlstate", None) or ""
    if sql_state[:2] in {"22", "23"}:  # SQL standard: data exception, constraint violation
        return True
    if isinstance(error, DBAPIError):
        return (
            isinstance(error, DataError | IntegrityError)
            or isinstance(getattr(told, "__cause__", None), ValueError)
            or _BINDING in str(told)
        )
    if isinstance(error, sqlite3.Error):
        return isinstance(error, sqlite3.DataError | sqlite3.IntegrityError) or _BINDING in str(
            error
        )
    return isinstance(
        error, StatementError | TypeError | ValueError | ArithmeticError | AttributeError
    )
