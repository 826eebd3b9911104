"""What packed storage is beside the contract: few files, each of which may be lost, damaged or deleted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_infra.storage.data_lock import DataFolderLockedError
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.packed import provider
from factflow_infra.storage.packed.provider import PackedStorageProvider
from factflow_infra.storage.packed_marker import StorageLayoutError
from factflow_protocols.errors import (
    KeyRefusedError,
    ObjectNotFoundError,
    StorageUnavailableError,
)
from factflow_testing.storage_contract import MESSAGE, keys_of

PACK = "executions/e1.pack"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[PackedStorageProvider]:
    store = PackedStorageProvider(tmp_path / "store")
    yield store
    await store.close()


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def open_files() -> list[str]:
    """Where this process's descriptors lead to."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # of the listing itself
            found.append(str(link.readlink()))
    return found


def key_in(execution: int, message: int = 0) -> str:
    return f"executions/e{execution}/crawl/fetch/{message:032x}"


# -- files on disk ---------------------------------------------------------------------------------


async def test_an_execution_is_one_file(store: PackedStorageProvider) -> None:
    for message in range(300):
        await store.write(key_in(1, message), b"x" * 2000, {"n": message}, extension=".html")
    await store.write(key_in(2), b"x", {"n": 1})
    await store.write("notes/a", b"x")
    await store.close()
    assert files_in(store.root) == [
        ".factflow-packed",
        "executions/e1.pack",
        "executions/e2.pack",
        "factflow.lock",
        "other.pack",
    ]


@pytest.mark.parametrize("closed", [True, False])
async def test_what_was_written_is_there_when_it_is_opened_again(
    store: PackedStorageProvider, tmp_path: Path, closed: bool
) -> None:
    """In order, and from the log beside the pack when nobody closed it."""
    await store.write(MESSAGE, b"data", {"n": 1}, extension=".html")
    if closed:
        await store.close()
    shutil.copytree(store.root, tmp_path / "as it is")
    second = PackedStorageProvider(tmp_path / "as it is")
    assert await second.read(f"{MESSAGE}.html") == b"data"
    assert (await second.metadata(MESSAGE))["n"] == 1
    assert await keys_of(second, "") == [f"{MESSAGE}.html"]
    await second.close()


async def test_a_second_one_on_a_folder_is_refused(store: PackedStorageProvider) -> None:
    """A pack has one writer."""
    with pytest.raises(DataFolderLockedError, match=str(os.getpid())):
        PackedStorageProvider(store.root)
    await store.close()
    await PackedStorageProvider(store.root).close()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc here")
async def test_more_executions_than_files_are_kept_open(store: PackedStorageProvider) -> None:
    count = 60
    for message in range(2):
        await asyncio.gather(
            *(store.write(key_in(n, message), b"%d" % n, {"n": n}) for n in range(count))
        )
    for n in range(count):
        assert await store.read(key_in(n)) == b"%d" % n
        assert (await store.metadata(key_in(n, 1)))["n"] == n
    assert len(await keys_of(store, "executions")) == 2 * count
    packs = {name for name in open_files() if name.endswith(".pack")}
    assert 0 < len(packs) < count


async def test_write_and_deletion_in_one_turn_keep_their_order(
    store: PackedStorageProvider,
) -> None:
    await asyncio.gather(
        store.write("a/b", b"first"), store.delete("a/b"), store.write("a/b", b"2nd")
    )
    assert await store.read("a/b") == b"2nd"


async def test_reads_go_to_a_thread_when_the_disk_is_slow(
    store: PackedStorageProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that took long is the last one on the loop for a while."""
    monkeypatch.setattr(provider, "SLOW_READ_SECONDS", -1.0)
    await store.write(MESSAGE, b"data", {"n": 1}, extension=".html")
    for _ in range(2):
        assert await store.read(f"{MESSAGE}.html") == b"data"
        assert (await store.metadata(MESSAGE))["n"] == 1
        assert await store.exists(f"{MESSAGE}.html")
        assert not await store.exists(MESSAGE)
        with pytest.raises(ObjectNotFoundError):
            await store.read(MESSAGE)


async def test_an_object_too_large_for_a_row_is_refused(
    store: PackedStorageProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "LARGEST_OBJECT", 1000)
    with pytest.raises(KeyRefusedError, match="too large") as caught:
        await store.write(MESSAGE, b"x" * 900, {"long": "x" * 100})
    assert caught.value.hint
    assert await keys_of(store, "") == []


# -- deleting --------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc here")
async def test_deleting_an_execution_gives_its_space_back_at_once(
    store: PackedStorageProvider,
) -> None:
    """Nobody keeps a deleted file open, neither the loop's reader, nor the threads', nor the writer."""
    for execution in (1, 2):
        await store.write(key_in(execution), b"x" * 200_000, {"n": 1})
        await store.metadata(key_in(execution))
        await store.read(key_in(execution))
    await store.delete_prefix("executions/e1")
    assert [name for name in open_files() if "e1.pack" in name] == []
    assert [name for name in files_in(store.root) if name.startswith("executions/e1")] == []
    assert await keys_of(store, "") == [key_in(2)]


async def test_a_deletion_that_a_crash_cut_off_stays_one(
    store: PackedStorageProvider, tmp_path: Path
) -> None:
    """The pack has its last name, and its log is still beside the first one: nothing comes back."""
    await store.write(key_in(1), b"old", {"n": 1})
    root = tmp_path / "as it is"
    shutil.copytree(store.root, root)
    (root / PACK).rename(root / "executions/e1.pack-deleted")
    assert (root / f"{PACK}-wal").stat().st_size > 0

    again = PackedStorageProvider(root)
    assert await keys_of(again, "") == []
    await again.write(key_in(1, 1), b"new", {"n": 2})
    assert await keys_of(again, "") == [key_in(1, 1)]
    assert await keys_of(again, "", records=True) == [key_in(1, 1)]
    await again.close()
    assert files_in(root) == [".factflow-packed", PACK, "factflow.lock"]


# -- what is not ours ------------------------------------------------------------------------------


async def test_plain_files_are_not_taken_for_packed_storage(tmp_path: Path) -> None:
    plain = FilesystemStorageProvider(tmp_path)
    await plain.write(MESSAGE, b"x")
    await plain.close()
    before = files_in(tmp_path)
    with pytest.raises(StorageLayoutError, match="no packed storage") as caught:
        PackedStorageProvider(tmp_path)
    assert f"file://{tmp_path}" in caught.value.hint
    assert files_in(tmp_path) == before


async def test_packed_storage_is_not_taken_for_plain_files(tmp_path: Path) -> None:
    """Not even when nothing is in it yet."""
    await PackedStorageProvider(tmp_path).close()
    with pytest.raises(StorageLayoutError, match="packed storage") as caught:
        FilesystemStorageProvider(tmp_path)
    assert f"packed://{tmp_path}" in caught.value.hint


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".factflow-packed").write_text("Factflow packed storage, format 2\n")
    with pytest.raises(StorageLayoutError, match="format 2"):
        PackedStorageProvider(tmp_path)


@pytest.mark.parametrize("content", ["garbage", "foreign", "newer"])
async def test_a_pack_that_is_none_is_the_trouble_of_one_execution(
    tmp_path: Path, content: str
) -> None:
    store = PackedStorageProvider(tmp_path)
    await store.write(key_in(2), b"fine", {"n": 1})
    if content == "garbage":
        (tmp_path / PACK).write_bytes(b"no database at all" * 500)
    else:
        with sqlite3.connect(tmp_path / PACK) as database:
            database.execute("CREATE TABLE mine (x)")
            if content == "newer":
                database.execute(f"PRAGMA application_id = {0x46_46_50_4B}")
                database.execute("PRAGMA user_version = 99")
        database.close()
    before = (tmp_path / PACK).read_bytes()
    for call in (
        store.write(key_in(1), b"x", {"n": 1}),
        store.read(key_in(1)),
        store.exists(key_in(1)),
        store.metadata(key_in(1)),
        keys_of(store, "executions"),
    ):
        with pytest.raises(StorageUnavailableError) as caught:
            await call
        assert PACK in caught.value.message
        assert caught.value.hint
    assert (tmp_path / PACK).read_bytes() == before
    await store.write(key_in(2, 1), b"fine", {"n": 2})
    assert await store.read(key_in(2)) == b"fine"
    await store.close()


async def test_a_record_that_is_no_json_is_damaged(store: PackedStorageProvider) -> None:
    await store.write(MESSAGE, b"x", {"n": 1})
    with sqlite3.connect(store.root / PACK) as database:
        database.execute("UPDATE body SET record = ?", (b"{cut off",))
    database.close()
    with pytest.raises(Exception, match="record") as caught:
        await store.metadata(MESSAGE)
    assert getattr(caught.value, "code", "") == "record_damaged"
    assert await store.read(MESSAGE) == b"x"


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_a_root_that_cannot_be_made_is_named(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageUnavailableError, match="file"):
        PackedStorageProvider(tmp_path / root)
