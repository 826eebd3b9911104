"""Databases on a real PostgreSQL server for tests: a schema each, dropped when the tests end.

`FACTFLOW_TEST_POSTGRES_URL` names the server; without it, one on this machine is tried. Tests that need
one are skipped when there is none; `FACTFLOW_TEST_REQUIRE_SERVICES=1` has them fail instead.
`FACTFLOW_TEST_DATABASE_URL` has every server that a test starts keep configs and executions there.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"
PREFIX = "factflow_test_"
CONNECT_SECONDS = 5.0

needs_file = pytest.mark.skipif(
    bool(os.environ.get("FACTFLOW_TEST_DATABASE_URL")), reason="is about the database's file"
)

_made: dict[str, str] = {}  # URLs by the names of the schemas there


def postgres_server() -> str:
    """Return the URL of the server for tests; skips the test when there is none, or fails it."""
    url = os.environ.get("FACTFLOW_TEST_POSTGRES_URL", SERVER)
    trouble = _trouble_with(url)
    if trouble is not None:
        said = f"no PostgreSQL for tests (FACTFLOW_TEST_POSTGRES_URL): {trouble}"
        if os.environ.get("FACTFLOW_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail(said)
        pytest.skip(said)
    return url


@contextmanager
def fresh_schema() -> Iterator[str]:
    """Yield the URL of an empty database of one's own, within the server for tests."""
    name = f"{PREFIX}{uuid.uuid4().hex}"
    url = _make(postgres_server(), name)
    try:
        yield url
    finally:
        _drop(name)


def database_of(folder: Path) -> str | None:
    """Return the URL of the database that goes with a data folder, the same for each server on it; None
    when servers under test keep their own in the folder."""
    server = os.environ.get("FACTFLOW_TEST_DATABASE_URL")
    if not server:
        return None
    digest = hashlib.sha256(f"{os.getpid()}:{folder.absolute()}".encode()).hexdigest()
    name = f"{PREFIX}{digest[:32]}"
    return _made.get(name) or _make(server, name)


def drop_schemas() -> None:
    """Drop what `database_of` made; for the end of the tests."""
    for name in list(_made):
        _drop(name)


def execute(url: str, *statements: str) -> None:
    """Run statements, each for itself, on a connection of their own."""

    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:  # the caller may be within an event loop
        thread.submit(asyncio.run, run()).result()


@functools.cache
def _trouble_with(url: str) -> str | None:
    try:
        execute(url, "SELECT 1")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return str(error) or type(error).__name__
    return None


def _make(server: str, name: str) -> str:
    execute(server, f"CREATE SCHEMA {name}")
    parts = urlsplit(server)
    query = f"{parts.query}&" if parts.query else ""
    url = urlunsplit(parts._replace(query=f"{query}search_path={name}"))
    _made[name] = url
    return url


def _drop(name: str) -> None:
    execute(_made.pop(name), f"DROP SCHEMA {name} CASCADE")
