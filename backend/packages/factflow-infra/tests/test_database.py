"""SQLite engines: one writer, readers that cannot write, and an end without leftovers."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_infra.database import sqlite_engine


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = sqlite_engine(tmp_path / "a #1 %20?.db")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        await connection.execute(text("CREATE TABLE child (parent REFERENCES parent (id))"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def reader(tmp_path: Path, writer: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    engine = sqlite_engine(tmp_path / "a #1 %20?.db", read_only=True)
    yield engine
    await engine.dispose()


async def count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM parent"))).scalar_one())


async def pragma(engine: AsyncEngine, name: str) -> object:
    async with engine.connect() as connection:
        return (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()


def test_file_has_exactly_the_name_it_was_given(writer: AsyncEngine, tmp_path: Path) -> None:
    assert "a #1 %20?.db" in {path.name for path in tmp_path.iterdir()}


async def test_writer_is_set_up_for_many_readers_and_checked_references(
    writer: AsyncEngine,
) -> None:
    assert await pragma(writer, "journal_mode") == "wal"
    assert await pragma(writer, "synchronous") == 1
    assert await pragma(writer, "busy_timeout") == 5000
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        async with writer.begin() as connection:
            await connection.execute(text("INSERT INTO child VALUES (7)"))


async def test_fsync_durability_waits_for_the_disk(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "synced.db", durability="fsync")
    assert await pragma(engine, "synchronous") == 2
    await engine.dispose()


async def test_parallel_writers_share_one_connection(writer: AsyncEngine) -> None:
    async def write() -> int:
        async with writer.begin() as connection:
            await connection.execute(text("INSERT INTO parent DEFAULT VALUES"))
            raw = await connection.get_raw_connection()
            return id(raw.driver_connection)

    connections = await asyncio.gather(*(write() for _ in range(20)))
    assert len(set(connections)) == 1
    assert await count(writer) == 20


def test_writer_with_several_connections_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        sqlite_engine(tmp_path / "x.db", pool_size=2)


async def test_failed_transaction_leaves_nothing_not_even_its_tables(writer: AsyncEngine) -> None:
    async def fail_half_way() -> None:
        async with writer.begin() as connection:
            await connection.execute(text("CREATE TABLE half (x)"))
            await connection.execute(text("INSERT INTO parent DEFAULT VALUES"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_half_way()
    assert await count(writer) == 0
    with pytest.raises(OperationalError, match="no such table"):
        async with writer.begin() as connection:
            await connection.execute(text("SELECT * FROM half"))


async def test_reader_reads_while_a_write_is_under_way(
    writer: AsyncEngine, reader: AsyncEngine
) -> None:
    """It sees what is committed; a transaction of its own sees one state throughout."""
    async with writer.begin() as connection:
        await connection.execute(text("INSERT INTO parent DEFAULT VALUES"))
        assert await count(reader) == 0
    async with reader.connect() as reading:
        query = text("SELECT count(*) FROM parent")
        assert (await reading.execute(query)).scalar_one() == 1
        async with writer.begin() as connection:
            await connection.execute(text("INSERT INTO parent DEFAULT VALUES"))
        assert (await reading.execute(query)).scalar_one() == 1
    assert await count(reader) == 2


async def test_reader_cannot_write(reader: AsyncEngine) -> None:
    with pytest.raises(OperationalError, match="readonly"):
        async with reader.begin() as connection:
            await connection.execute(text("INSERT INTO parent DEFAULT VALUES"))


async def test_reader_opens_a_file_nobody_writes(writer: AsyncEngine, reader: AsyncEngine) -> None:
    await writer.dispose()
    assert await count(reader) == 0


async def test_reader_does_not_make_an_absent_file(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "absent.db", read_only=True)
    with pytest.raises(OperationalError, match="unable to open"):
        await count(engine)
    await engine.dispose()
    assert not (tmp_path / "absent.db").exists()


async def test_disposed_engines_leave_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    writer = sqlite_engine(tmp_path / "x.db")
    async with writer.begin() as connection:
        await connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
    reader = sqlite_engine(tmp_path / "x.db", read_only=True)
    await asyncio.gather(*(count(reader) for _ in range(10)))
    await reader.dispose()
    await writer.dispose()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert set(threading.enumerate()) <= before
