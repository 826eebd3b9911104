"""The broker that tests of broker queues need: found by the environment, or the test is skipped.

`FACTFLOW_TEST_AMQP_URL` and `FACTFLOW_TEST_NATS_URL` name them; without, one on this machine is tried.
With `FACTFLOW_TEST_REQUIRE_SERVICES=1` a missing one fails the test.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_infra import postgres
from factflow_testing.postgres_schemas import fresh_schema

AMQP = "amqp://guest:guest@127.0.0.1:5672/"
NATS = "nats://127.0.0.1:4222"


def amqp_url() -> str:
    """Return RabbitMQ's URL, or skip the test when nobody answers there."""
    return _answering(os.environ.get("FACTFLOW_TEST_AMQP_URL", AMQP), "RabbitMQ")


def nats_url() -> str:
    """Return the URL of NATS, or skip the test when nobody answers there."""
    return _answering(os.environ.get("FACTFLOW_TEST_NATS_URL", NATS), "NATS")


def _answering(url: str, what: str) -> str:
    parts = urlsplit(url)
    if not _listens(parts.hostname or "127.0.0.1", parts.port or 0):
        reason = f"no {what} answers at {parts.hostname}:{parts.port}"
        if os.environ.get("FACTFLOW_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return url


@asynccontextmanager
async def postgres_engine() -> AsyncIterator[AsyncEngine]:
    """Lend an engine on a schema of its own, which is dropped afterwards."""
    with fresh_schema() as url:
        engine = postgres.postgres_engine(url, pool_size=4)
        try:
            yield engine
        finally:
            await engine.dispose()


@functools.cache
def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False
