"""The writer's own connection: opened when needed, dropped when anything about it is doubtful."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_lineage.tables import create_schema, schema_is_missing


class WritingConnection:
    """One connection held between transactions; one transaction at a time.

    `tables_were_missing` is set when the database turned out to hold no lineage tables, which then
    were created: it is new, or what was written before is lost.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._file = _database_file(engine)
        self._file_identity: tuple[int, int] | None = None
        self.tables_were_missing = False

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commit what is done inside, or roll it back and drop the connection.

        Raises what the driver raises.
        """
        try:
            connection = await self._open()
            async with connection.begin():
                yield connection
        except BaseException:
            await self.drop()
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

    async def _open(self) -> AsyncConnection:
        if self._connection is not None and self._identity() != self._file_identity:
            # A deleted or exchanged SQLite file takes writes without a word, into nowhere.
            await self.drop()
        if self._connection is None:
            self._connection = await self._engine.connect()
            async with self._connection.begin():
                missing = await schema_is_missing(self._connection)
                if missing:
                    await create_schema(self._connection)
            self.tables_were_missing |= missing
            self._file_identity = self._identity()
        return self._connection

    def _identity(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _database_file(engine: AsyncEngine) -> Path | None:
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name.startswith((":memory:", "file:")):
        return None
    return Path(name)


def is_refusal(error: BaseException) -> bool:
    """Tell whether the database refuses a value of ours: trying the same again would not help."""
    if isinstance(error, DBAPIError):
        sql_state = getattr(error.orig, "sqlstate", None) or ""
        return (
            isinstance(error, DataError | IntegrityError)
            or sql_state[:2] in {"22", "23"}  # SQL standard: data exception, constraint violation
            or isinstance(getattr(error.orig, "__cause__", None), ValueError)
            or "binding parameter" in str(error.orig)  # sqlite3 says so, under changing classes
        )
    return isinstance(error, StatementError | TypeError | ValueError | OverflowError)
