"""The broker and the database that tests of broker queues need: found by the environment, or skipped.

`FACTFLOW_TEST_AMQP_URL` and `FACTFLOW_TEST_POSTGRES_URL` name them; both default to this machine.
With `FACTFLOW_TEST_REQUIRE_SERVICES=1` a missing one fails the test.
"""

from __future__ import annotations

import functools
import os
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

AMQP = "amqp://guest:guest@127.0.0.1:5672/"
POSTGRES = "postgresql+asyncpg://postgres@127.0.0.1:5432/postgres"


def amqp_url() -> str:
    """Return the broker's URL, or skip the test when nobody answers there."""
    return _answering(os.environ.get("FACTFLOW_TEST_AMQP_URL", AMQP), "RabbitMQ")


def postgres_url() -> str:
    """Return the database's URL, or skip the test when nobody answers there."""
    return _answering(os.environ.get("FACTFLOW_TEST_POSTGRES_URL", POSTGRES), "PostgreSQL")


@asynccontextmanager
async def postgres_engine() -> AsyncIterator[AsyncEngine]:
    """Lend an engine on a schema of its own, which is dropped afterwards."""
    schema = f"queue_{uuid.uuid4().hex[:12]}"
    url = postgres_url().replace("postgresql://", "postgresql+asyncpg://")
    settings = {"server_settings": {"search_path": schema}}
    engine = create_async_engine(url, connect_args=settings, pool_size=4)
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE SCHEMA {schema}"))
    try:
        yield engine
    finally:
        async with engine.begin() as connection:
            await connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        await engine.dispose()


def _answering(url: str, name: str) -> str:
    parts = urlsplit(url)
    if not _listens(parts.hostname or "127.0.0.1", parts.port or 0):
        reason = f"no {name} answers at {parts.hostname}:{parts.port}"
        if os.environ.get("FACTFLOW_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return url


@functools.cache
def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False
