"""The writer's own connection: opened when needed, dropped when anything about it is doubtful."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_foundation.logs import logger
from factflow_lineage.database_file import DatabaseFile, Identity, is_damage
from factflow_lineage.tables import create_schema, schema_is_missing, schema_is_older

log = logger(__name__)

_BINDING = "binding parameter"  # sqlite3 says so of values it cannot store, under changing classes


class OlderLineageError(OSError):
    """The database holds lineage of an earlier version, and nothing can be done about it."""


class WritingConnection:
    """One connection held between transactions; one transaction at a time.

    `tables_were_missing` is set when the database turned out to hold no lineage tables, which then
    were created: it is new, or what was written before is lost. `set_aside` is where the last file is
    that turned out to be damaged, or of an earlier version.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._file = DatabaseFile(engine)
        self._file_identity: Identity | None = None
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

    async def _set_aside_older(self) -> None:
        """Make room for tables of today's form: rows are made again from records in any case, and from
        these take no longer than from the old ones."""
        await self.drop()
        aside = self._file.set_aside("older")
        if aside is None:
            raise OlderLineageError(
                "the lineage database is of an earlier version and cannot be renamed"
            )
        log.warning("lineage database is of an earlier version", kept_as=str(aside))
        self.set_aside = aside
        self._connection = await self._engine.connect()

    async def _open(self) -> AsyncConnection:
        if self._connection is not None and self._file.identity() != self._file_identity:
            # A deleted or exchanged SQLite file takes writes without a word, into nowhere.
            await self.drop()
        if self._connection is None:
            self._connection = await self._engine.connect()
            async with self._connection.begin():
                older = await schema_is_older(self._connection)
            if older:
                await self._set_aside_older()
            async with self._connection.begin():
                missing = await schema_is_missing(self._connection)
                await create_schema(self._connection)
            self.tables_were_missing |= missing
            self._file_identity = self._file.identity()
        return self._connection


def is_refusal(error: BaseException) -> bool:
    """Tell whether the database refuses a value of ours: trying the same again would not help."""
    if isinstance(error, DBAPIError):
        sql_state = getattr(error.orig, "sqlstate", None) or ""
        return (
            isinstance(error, DataError | IntegrityError)
            or sql_state[:2] in {"22", "23"}  # SQL standard: data exception, constraint violation
            or isinstance(getattr(error.orig, "__cause__", None), ValueError)
            or _BINDING in str(error.orig)
        )
    if isinstance(error, sqlite3.Error):
        return isinstance(error, sqlite3.DataError | sqlite3.IntegrityError) or _BINDING in str(
            error
        )
    return isinstance(
        error, StatementError | TypeError | ValueError | ArithmeticError | AttributeError
    )
