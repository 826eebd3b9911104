"""PostgreSQL engines over asyncpg: a pool of connections, none of which waits for ever.

Whatever the driver says of trouble with the server (no connection, a lost one, a time that is up, a full
disk, a standby that takes no writes) is raised as SQLAlchemy's `OperationalError`, which is what callers
hold and retry on. Errors of a statement's own keep their classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from factflow_infra.database_url import address_of, check_database_url

CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0
LOCK_SECONDS = 10.0
SILENCE_SECONDS = 10.0
"""How much longer than a statement an answer may take before its connection is given up: a server that does
not answer does not end statements either."""
POOL_SIZE = 10
RECYCLE_SECONDS = 900
"""How old a connection may get: firewalls forget those that are idle for long, without telling."""

_TROUBLE_CLASSES = frozenset(
    {
        "08",  # connection exception
        "28",  # invalid authorization
        "3D",  # no such database
        "40",  # transaction rollback: serialization, deadlock
        "53",  # insufficient resources: disk, memory, connections
        "57",  # operator intervention: a time that is up, a shutdown, a start
        "58",  # system error
    }
)
_TROUBLE_STATES = frozenset({"25006", "55P03"})  # a standby or read-only database; a lock not given


def postgres_engine(
    url: str,
    *,
    application_name: str = "factflow",
    pool_size: int = POOL_SIZE,
    statement_seconds: float = STATEMENT_SECONDS,
    lock_seconds: float = LOCK_SECONDS,
) -> AsyncEngine:
    """Return an engine for the database; no connection is made before its first use.

    `pool_size` connections at most; one that the server has closed is replaced. A statement ends after
    `statement_seconds`, waiting for a lock after `lock_seconds`; settings of the server in the URL's query
    (`?statement_timeout=…&search_path=…`) win over these. Each statement of a transaction sees what is
    committed when it begins. The engine's `url` holds no password. Raises ValueError for a URL that names
    no database.
    """
    check_database_url(url)
    settings = _server_settings(
        url,
        application_name=application_name,
        statement_timeout=_milliseconds(statement_seconds),
        lock_timeout=_milliseconds(lock_seconds),
        idle_in_transaction_session_timeout=_milliseconds(2 * statement_seconds),
    )

    async def connect() -> asyncpg.Connection:
        try:
            return await asyncpg.connect(
                url,
                timeout=CONNECT_SECONDS,
                command_timeout=statement_seconds + SILENCE_SECONDS,
                server_settings=settings,
            )
        except TimeoutError as error:
            raise _unreachable(f"no connection within {CONNECT_SECONDS:g} s", error) from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise _unreachable(str(error), error) from error

    engine = create_async_engine(
        address_of(url),
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=0,
        pool_recycle=RECYCLE_SECONDS,
        hide_parameters=True,
    )
    dbapi = engine.dialect.loaded_dbapi

    def _unreachable(words: str, error: BaseException) -> Exception:
        raised: Exception = dbapi.OperationalError(words, error)
        return raised

    event.listen(engine.sync_engine, "checkout", _leave_closed)
    event.listen(engine.sync_engine, "handle_error", _as_trouble)
    return engine


def is_trouble(error: BaseException) -> bool:
    """Tell whether an error of the driver is the server's, and asking again may help."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state[:2] in _TROUBLE_CLASSES or state in _TROUBLE_STATES
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error) or "released" in str(error)
    return isinstance(error, OSError | TimeoutError)


def _leave_closed(
    connection: DBAPIConnection, _entry: ConnectionPoolEntry, _lent: PoolProxiedConnection
) -> None:
    """Have the pool replace a connection that the server closed, as when it was started anew. The driver has
    noticed; asking the server each time would be a round trip each time."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _as_trouble(context: ExceptionContext) -> BaseException | None:
    """Return what to raise instead of a driver's error; None leaves it as it is."""
    error = context.original_exception
    driver = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if not is_trouble(driver):
        return None
    if isinstance(driver, TimeoutError) and not str(driver):
        driver = TimeoutError("no answer")
    return OperationalError(
        context.statement,
        None,
        driver,
        hide_parameters=True,
        connection_invalidated=context.is_disconnect,
    )


def _server_settings(url: str, **ours: str) -> Mapping[str, str]:
    given = {name for name, _ in parse_qsl(urlsplit(url).query)}
    return {name: value for name, value in ours.items() if name not in given}


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
