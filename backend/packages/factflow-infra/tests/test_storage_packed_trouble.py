"""Packed storage on a bad day: killed processes, full disks, a folder that goes away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from factflow_infra.storage.data_lock import DataFolderLock
from factflow_infra.storage.packed.provider import PackedStorageProvider
from factflow_infra.storage.writer_process import WriterProcess
from factflow_protocols.errors import ObjectExistsError, StorageUnavailableError
from factflow_testing.small_disk import SmallDisk, small_disk
from factflow_testing.storage_contract import MESSAGE, keys_of

# -- killed ----------------------------------------------------------------------------------------

_WRITE_ONCE = """
import asyncio, sys
from factflow_infra.storage.packed.provider import PackedStorageProvider

async def main(root, writer):
    store = PackedStorageProvider(root, writer=writer)
    await store.write("executions/e1/r/s/m", b"first", {"try": 1}, extension=".txt")
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("writer", ["thread", "process"])
@pytest.mark.parametrize(
    ("point", "committed"),
    [
        ("storage.artefact.before", False),
        ("storage.record.before", False),
        ("storage.artefact.after", True),
        ("storage.record.after", True),
    ],
)
async def test_artefact_and_record_are_never_apart(
    tmp_path: Path, writer: str, point: str, committed: bool
) -> None:
    """Wherever a process dies, both are there or neither is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _WRITE_ONCE,
        *(str(tmp_path), writer),
        env={**os.environ, "FACTFLOW_CRASH_POINT": point},
    )
    assert await process.wait() == -signal.SIGKILL
    store = PackedStorageProvider(tmp_path)
    key = "executions/e1/r/s/m"
    if committed:
        assert (await store.metadata(key))["try"] == 1
        assert await store.read(f"{key}.txt") == b"first"
        with pytest.raises(ObjectExistsError):
            await store.write(key, b"second", {"try": 2}, extension=".txt")
    else:
        assert await keys_of(store, "") == []
        assert await store.write(key, b"second", {"try": 2}, extension=".txt") == f"{key}.txt"
    await store.close()


_WRITE_ON = """
import asyncio, sys
from pathlib import Path
from factflow_infra.storage.packed.provider import PackedStorageProvider
from factflow_infra.storage.data_lock import DataFolderLock

async def main(folder, writer):
    lock = DataFolderLock(folder)
    lock.acquire()
    store = PackedStorageProvider(folder / "store", writer=writer, keep_open=[lock.fileno()])

    async def write(lane):
        for number in range(100_000):
            key = f"executions/e{lane % 3}/flow/stage/{lane}-{number}"
            await store.write(key, b"x" * 3000, {"key": key}, extension=".bin")
            print(key, flush=True)

    await asyncio.gather(*(write(lane) for lane in range(20)))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.parametrize("writer", ["thread", "process"])
async def test_a_kill_costs_nothing_that_was_answered(tmp_path: Path, writer: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITE_ON, str(tmp_path), writer, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    answered = [(await process.stdout.readline()).decode().strip() for _ in range(1500)]
    process.kill()
    await process.wait()
    rest = (await process.stdout.read()).decode().split("\n")
    answered += rest[:-1]  # the last line may be cut off
    with DataFolderLock(tmp_path, wait_seconds=60):
        store = PackedStorageProvider(tmp_path / "store")
        records = await keys_of(store, "", records=True)
        assert set(answered) <= set(records)
        assert len(records) - len(answered) <= 40
        for key in records:
            assert await store.metadata(key) == {"key": key, "output_key": f"{key}.bin"}
            assert await store.read(f"{key}.bin") == b"x" * 3000
        await store.close()


async def test_a_writer_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """A thread does what it had not answered and all that follows."""
    store = PackedStorageProvider(tmp_path, writer="process")
    await store.write("a/first", b"x", {})
    writer = store._writer
    assert isinstance(writer, WriterProcess)
    assert writer._process is not None
    tasks = [
        asyncio.create_task(store.write(f"executions/e1/r/s/{n}", b"x" * 5000, {"n": n}))
        for n in range(300)
    ]
    await tasks[0]
    os.kill(writer._process.pid, signal.SIGKILL)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    # One that was stored and not answered is found by the second try, as by any repeat.
    assert {type(result) for result in results} <= {str, ObjectExistsError}
    records = await keys_of(store, "executions", records=True)
    assert len(records) == 300
    for key in records:
        assert (await store.metadata(key))["output_key"] == key
    await store.close()


# -- the disk --------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", "4m") as disk:
        yield disk


async def test_full_disk_is_unavailable_and_resumes_by_itself(disk: SmallDisk) -> None:
    store = PackedStorageProvider(disk.root / "store")
    await store.write(MESSAGE, b"x" * 1000, {"n": 1}, extension=".txt")
    disk.fill()
    for key in (f"{MESSAGE}1", "executions/e2/crawl/fetch/aa"):
        with pytest.raises(StorageUnavailableError, match="is full") as caught:
            await store.write(key, b"x" * 500_000, {"n": 2})
        assert caught.value.hint
    assert await store.read(f"{MESSAGE}.txt") == b"x" * 1000
    assert await keys_of(store, "") == [f"{MESSAGE}.txt"]
    disk.free()
    for key in (f"{MESSAGE}1", "executions/e2/crawl/fetch/aa"):
        assert await store.write(key, b"x" * 500_000, {"n": 2}) == key
        assert await store.read(key) == b"x" * 500_000
    await store.close()


async def test_execution_can_be_deleted_from_a_full_disk(disk: SmallDisk) -> None:
    """As it takes no room to do so."""
    store = PackedStorageProvider(disk.root / "store")
    await store.write("executions/e1/crawl/fetch/aa", b"x" * 1_000_000, {"n": 1})
    disk.fill()
    await store.delete_prefix("executions/e1")
    assert not disk.is_full()
    assert await store.write("executions/e2/crawl/fetch/aa", b"x" * 500_000) is not None
    await store.close()


async def test_a_root_that_is_gone_is_unavailable_and_resumes(tmp_path: Path) -> None:
    root, away = tmp_path / "store", tmp_path / "away"
    store = PackedStorageProvider(root)
    await store.write(MESSAGE, b"x", {"n": 1})
    root.rename(away)
    for call in (
        store.write(f"{MESSAGE}1", b"x", {"n": 1}),
        store.write("executions/e2/crawl/fetch/aa", b"x"),
        store.read("executions/e2/crawl/fetch/aa"),
        store.exists("executions/health"),
        store.delete("notes/a"),
        store.delete_prefix("executions/e1"),
        keys_of(store, "notes"),
    ):
        with pytest.raises(StorageUnavailableError, match="gone"):
            await call
    away.rename(root)
    assert await store.write(f"{MESSAGE}1", b"x", {"n": 1}) == f"{MESSAGE}1"
    assert await keys_of(store, "", records=True) == [MESSAGE, f"{MESSAGE}1"]
    await store.close()


async def test_a_pack_removed_by_hand_is_not_written_any_more(tmp_path: Path) -> None:
    """What goes into a file without a name would be lost."""
    store = PackedStorageProvider(tmp_path)
    await store.write(MESSAGE, b"x", {"n": 1})
    for path in (tmp_path / "executions").iterdir():
        path.unlink()
    await store.write(f"{MESSAGE}1", b"y", {"n": 2})
    await store.close()
    again = PackedStorageProvider(tmp_path)
    assert await keys_of(again, "") == [f"{MESSAGE}1"]
    assert json.dumps(await again.metadata(f"{MESSAGE}1"))
    await again.close()
