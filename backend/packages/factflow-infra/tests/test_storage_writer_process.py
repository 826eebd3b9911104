"""The process that makes files: it outlives signals, and neither its death nor its server's loses a write."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_infra.storage.data_lock import DataFolderLock
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.writer_process import WriterProcess
from factflow_infra.storage.writer_thread import BACKLOG_LIMIT
from factflow_testing.waiting import eventually

COUNT = 200


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FilesystemStorageProvider]:
    store = FilesystemStorageProvider(tmp_path / "store", writer="process")
    yield store
    await store.close()


def pid_of(store: FilesystemStorageProvider) -> int:
    writer = store._writer
    assert isinstance(writer, WriterProcess)
    assert writer._process is not None
    return writer._process.pid


async def write(store: FilesystemStorageProvider, number: int) -> str | None:
    return await store.write(f"a/{number}", b"x" * 4000, {"number": number}, extension=".bin")


async def whole(store: FilesystemStorageProvider) -> int:
    """Count the records; each must have its object."""
    count = 0
    async for found in store.list("a", records=True):
        record = await store.metadata(found.key)
        assert await store.read(record["output_key"]) == b"x" * 4000
        count += 1
    return count


async def test_what_a_killed_writer_left_is_done_all_the_same(
    store: FilesystemStorageProvider,
) -> None:
    await write(store, 0)
    begun = [asyncio.create_task(write(store, number)) for number in range(1, COUNT)]
    await begun[10]
    os.kill(pid_of(store), signal.SIGKILL)
    names = await asyncio.gather(*begun, return_exceptions=True)
    # One it had finished and not told of stands already: its writer finds its own record.
    assert all(isinstance(name, str) or "already stored" in str(name) for name in names)
    assert await write(store, COUNT) == f"a/{COUNT}.bin"
    assert await whole(store) == COUNT + 1


async def test_far_more_than_may_be_under_way_are_all_done(
    store: FilesystemStorageProvider,
) -> None:
    begun = [asyncio.create_task(write(store, number)) for number in range(4 * BACKLOG_LIMIT)]
    await begun[0]
    for task in begun[2 * BACKLOG_LIMIT : 3 * BACKLOG_LIMIT]:
        task.cancel()  # those that wait for room give up
    await begun[-1]
    os.kill(pid_of(store), signal.SIGKILL)
    more = [write(store, number) for number in range(10_000, 10_000 + 3 * BACKLOG_LIMIT)]
    assert len(await asyncio.gather(*more)) == 3 * BACKLOG_LIMIT
    assert await whole(store) >= 6 * BACKLOG_LIMIT


async def test_signals_to_a_terminals_programs_do_not_end_it(
    store: FilesystemStorageProvider,
) -> None:
    await write(store, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid_of(store), number)
    await asyncio.gather(*(write(store, number) for number in range(1, 50)))
    assert await whole(store) == 50
    os.kill(pid_of(store), 0)


async def test_closing_finishes_what_was_taken_and_leaves_no_process(
    store: FilesystemStorageProvider,
) -> None:
    begun = [asyncio.create_task(write(store, number)) for number in range(COUNT)]
    await begun[0]
    process = pid_of(store)
    await store.close()
    assert len(await asyncio.gather(*begun)) == COUNT
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert await whole(store) == COUNT


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.data_lock import DataFolderLock

async def main():
    folder = Path(sys.argv[1])
    lock = DataFolderLock(folder)
    lock.acquire()
    store = FilesystemStorageProvider(folder / "store", writer="process", keep_open=[lock.fileno()])
    await store.write("a/first", b"x" * 4000, {}, extension=".bin")
    if sys.argv[2] == "forked" and os.fork() == 0:
        os.close(lock.fileno())
        print(os.getpid(), flush=True)
        signal.pause()  # what an adapter might do: it holds all that was open, the line too
    for number in range(400):
        asyncio.ensure_future(store.write(f"a/{number}", b"x" * 4000, {}, extension=".bin"))
    for _ in range(3):
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def check_whole_and_still(root: Path) -> None:
    store = FilesystemStorageProvider(root)
    found = {item.key async for item in store.list("a", records=True)}
    assert found, "what had been handed over is written"
    for key in found:
        record = await store.metadata(key)
        assert await store.read(record["output_key"]) == b"x" * 4000
    assert {item.key async for item in store.list("a", records=True)} == found
    await store.close()


@pytest.mark.parametrize("kind", ["alone", "forked"])
def test_the_folder_is_taken_over_only_once_a_dead_servers_writer_has_ended(
    tmp_path: Path, kind: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), kind], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    forked = int(process.stdout.readline()) if kind == "forked" else None
    try:
        assert process.wait(60) == -signal.SIGKILL
        with DataFolderLock(tmp_path, wait_seconds=60):
            asyncio.run(check_whole_and_still(tmp_path / "store"))
    finally:
        process.stdout.close()
        if forked is not None:
            os.kill(forked, signal.SIGKILL)


async def test_a_crash_point_reached_by_the_writer_ends_its_server(tmp_path: Path) -> None:
    script = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "await asyncio.Event().wait()")
    environment = {**os.environ, "FACTFLOW_CRASH_POINT": "storage.record.before:5"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), "alone", env=environment
    )
    await eventually(lambda: process.returncode is not None, seconds=60)
    assert process.returncode == -signal.SIGKILL
    records = list((tmp_path / "store").rglob("*.meta.json"))
    assert len(records) == 4
    assert all(json.loads(path.read_text()) for path in records)


def test_the_program_loads_nothing_that_only_a_server_needs() -> None:
    """It is started with each store; these took more than half of its start."""
    asked = "import sys, factflow_infra.storage.writer_program; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "factflow_infra.storage.disk_writer" in loaded
    assert not {"asyncio", "structlog", "sqlalchemy", "obstore"} & set(loaded)
