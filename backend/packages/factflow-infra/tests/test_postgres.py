"""PostgreSQL engines: trouble has one class, a statement's own errors keep theirs; no password is told."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_infra.database_url import check_database_url, shown_database_url
from factflow_infra.postgres import postgres_engine
from factflow_testing.postgres_schemas import fresh_schema


@pytest.fixture
async def engine() -> AsyncIterator[AsyncEngine]:
    with fresh_schema() as url:
        engine = postgres_engine(url, statement_seconds=0.3, lock_seconds=0.1)
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE one (id INTEGER PRIMARY KEY)"))
            await connection.execute(text("INSERT INTO one VALUES (1)"))
        yield engine
        await engine.dispose()


async def test_a_time_that_is_up_is_trouble_and_leaves_the_engine_usable(
    engine: AsyncEngine,
) -> None:
    locking = text("SELECT id FROM one FOR UPDATE")
    async with engine.begin() as first:
        await first.execute(locking)
        with pytest.raises(OperationalError, match="lock timeout"):
            async with engine.begin() as second:
                await second.execute(locking)
    with pytest.raises(OperationalError, match="statement timeout"):
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))
    with pytest.raises(OperationalError, match="administrator"):
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    async with engine.begin() as connection:
        assert (await connection.execute(locking)).scalar_one() == 1


async def test_what_is_wrong_with_a_statement_is_no_trouble(engine: AsyncEngine) -> None:
    with pytest.raises(IntegrityError):
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO one VALUES (1)"))
    with pytest.raises(ProgrammingError):
        async with engine.begin() as connection:
            await connection.execute(text("SELECT 1 FROM nowhere"))


async def test_a_server_that_is_not_there_is_trouble_without_the_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        engine = postgres_engine(f"postgresql://me:s3cret@127.0.0.1:{port}/facts")
        with pytest.raises(OperationalError) as raised:
            async with engine.connect():
                pass
    await engine.dispose()
    assert "s3cret" not in f"{raised.value} {raised.value.orig!r} {engine.url!r} {engine!r}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db:5433/facts", "postgresql://me@db:5433/facts"),
        ("postgres://db/facts?password=s3cret&sslmode=require", "postgresql://db/facts"),
        ("postgresql://me:s3cret@a:1,b:2/facts", "postgresql://me@a:1,b:2/facts"),
        ("postgresql://me:s3c%2Fret@[::1]:5432/facts", "postgresql://me@[::1]:5432/facts"),
    ],
)
def test_a_url_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert shown_database_url(check_database_url(url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:s3cret@db/facts",
        "postgresql://me:s3/cret@db/facts",
        "postgresql://me:s3#cret@db/facts",
        "postgresql://me:s3cret@db",
        "postgresql://me:s3cret@db:port/facts",
        "s3cret",
    ],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="it") as raised:
        check_database_url(url)
    assert "s3" not in str(raised.value)
    assert "cret" not in str(raised.value)
