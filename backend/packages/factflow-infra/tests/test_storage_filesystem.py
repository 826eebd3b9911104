"""The filesystem store: the contract, in all its ways of writing, and what only a folder can do."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from factflow_infra.storage import staged_file
from factflow_infra.storage.empty_record import remove_if_empty
from factflow_infra.storage.filesystem import Durability, FilesystemStorageProvider
from factflow_infra.storage.layout import TEMP_PREFIX, record_key
from factflow_infra.storage.staged_file import TemporaryFile, UnnamedFile, choose_staging
from factflow_protocols.errors import (
    KeyRefusedError,
    ObjectExistsError,
    ObjectNotFoundError,
    RecordDamagedError,
)
from factflow_protocols.storage import StorageProtocol
from factflow_testing.storage_contract import MESSAGE, STAGE, StorageContract, keys_of

LINUX = sys.platform == "linux"


@pytest.mark.long
class TestFilesystemStore(StorageContract):
    """The store as it comes."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[StorageProtocol]:
        store = FilesystemStorageProvider(tmp_path / "store")
        yield store
        await store.close()


@pytest.mark.long
class TestFilesystemStoreWithoutUnnamedFiles(StorageContract):
    """Where O_TMPFILE is lacking: macOS, some network file systems."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[StorageProtocol]:
        store = FilesystemStorageProvider(tmp_path / "store", staging=TemporaryFile)
        yield store
        await store.close()


class TestFilesystemStoreWithWriterProcess(StorageContract):
    """As a server has it: a process of its own makes the files."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[StorageProtocol]:
        store = FilesystemStorageProvider(tmp_path / "store", writer="process")
        yield store
        await store.close()


@pytest.mark.long
class TestFilesystemStoreWithFsync(StorageContract):
    """`durability: fsync`."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[StorageProtocol]:
        store = FilesystemStorageProvider(tmp_path / "store", durability="fsync")
        yield store
        await store.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FilesystemStorageProvider]:
    store = FilesystemStorageProvider(tmp_path / "store")
    yield store
    await store.close()


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# -- files on disk ---------------------------------------------------------------------------------


async def test_artefact_and_record_lie_where_a_user_looks(store: FilesystemStorageProvider) -> None:
    await store.write(MESSAGE, b"<p>", {"n": 1}, extension=".html")
    assert files_in(store.root) == [f"{MESSAGE}.html", f"{MESSAGE}.meta.json"]
    assert (store.root / f"{MESSAGE}.html").read_bytes() == b"<p>"


@pytest.mark.parametrize("staging", [UnnamedFile, TemporaryFile])
async def test_losers_of_a_race_leave_nothing(
    tmp_path: Path, staging: type[UnnamedFile] | type[TemporaryFile]
) -> None:
    """Six stores on one root, as six processes would be, race for one key."""
    if staging is UnnamedFile and not LINUX:
        pytest.skip("O_TMPFILE is Linux's")
    stores = [FilesystemStorageProvider(tmp_path / "s", staging=staging) for _ in range(6)]
    for round_number in range(40):
        key = f"r/{round_number}"
        results = await asyncio.gather(
            *(store.write(key, b"x", {"n": i}, extension=".t") for i, store in enumerate(stores)),
            return_exceptions=True,
        )
        names = [result for result in results if isinstance(result, str)]
        assert len(names) == 1
        assert sum(isinstance(result, ObjectExistsError) for result in results) == 5
        assert await keys_of(stores[0], "r") == names
        assert (await stores[0].metadata(key))["output_key"] == names[0]
        await stores[0].delete(key)
        await stores[0].delete(names[0])
    for store in stores:
        await store.close()
    assert files_in(tmp_path / "s") == []


async def test_deleting_the_last_object_removes_its_empty_folders(
    store: FilesystemStorageProvider,
) -> None:
    await store.write("a/b/c/d", b"x")
    await store.write("a/e", b"x")
    await store.delete("a/b/c/d")
    assert [path.name for path in (store.root / "a").iterdir()] == ["e"]
    await store.write("a/b/c/d", b"again")
    assert await store.read("a/b/c/d") == b"again"


async def test_folder_removed_by_another_process_is_made_again(
    store: FilesystemStorageProvider,
) -> None:
    await store.write("a/b/c", b"x")
    (store.root / "a/b/c").unlink()
    (store.root / "a/b").rmdir()
    (store.root / "a").rmdir()
    await store.write("a/b/c", b"again", {"n": 1})
    assert await store.read("a/b/c") == b"again"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("r/s/0123", "r/s/0123"),
        ("r/s/0123.html", "r/s/0123"),
        ("r/s/0123.tar.gz", "r/s/0123"),
        ("r/s/0123~2", "r/s/0123"),
        ("r/s/0123~12.html", "r/s/0123"),
        ("r/s.v1/0123", "r/s.v1/0123"),
        ("r/s~2/0123.html", "r/s~2/0123"),
        ("r/a~b.html", "r/a~b"),
        ("r/.hidden", "r/.hidden"),
        ("r/..odd.html", "r/..odd"),
        ("r/...", "r/..."),
        ("~2", "~2"),
        ("_init.json", "_init"),
    ],
)
def test_record_belongs_to_the_name_without_extension_and_number(name: str, key: str) -> None:
    assert record_key(name) == key


async def test_names_that_differ_behind_a_dot_share_a_record(
    store: FilesystemStorageProvider,
) -> None:
    await store.write("notes/a.v1", b"one", {"n": 1})
    with pytest.raises(ObjectExistsError):
        await store.write("notes/a.v2", b"two", {"n": 2})
    assert await store.metadata("notes/a.v1") == {"n": 1, "output_key": "notes/a.v1"}
    assert await keys_of(store, "notes") == ["notes/a.v1"]


@pytest.mark.parametrize(
    ("key", "extension"),
    [
        ("a/b.meta.json", ""),
        ("a/b", ".meta.json"),
        ("a/b.meta", ".json"),
        ("a.meta.json/b", ""),
        (f"a/{TEMP_PREFIX}1", ""),
        (f"{TEMP_PREFIX}1/b", ""),
    ],
)
async def test_names_the_store_needs_itself_are_refused(
    store: FilesystemStorageProvider, key: str, extension: str
) -> None:
    with pytest.raises(KeyRefusedError, match="keeps those names for itself"):
        await store.write(key, b"x", extension=extension)


async def test_records_cannot_be_read_or_deleted_as_objects(
    store: FilesystemStorageProvider,
) -> None:
    await store.write(MESSAGE, None, {"n": 1})
    sidecar = f"{MESSAGE}.meta.json"
    assert not await store.exists(sidecar)
    with pytest.raises(ObjectNotFoundError):
        await store.read(sidecar)
    await store.delete(sidecar)
    assert await store.metadata(MESSAGE) == {"n": 1}


async def test_key_below_an_object_is_refused(store: FilesystemStorageProvider) -> None:
    await store.write("a/b", b"x")
    with pytest.raises(KeyRefusedError, match="an object already"):
        await store.write("a/b/c", b"x")
    with pytest.raises(KeyRefusedError, match="folder of other objects"):
        await store.write("a", b"x")


@pytest.mark.parametrize("content", [b"\0", b'{"n": 1', b"[1]", b"\xff\xfe"])
async def test_damaged_record_says_so_and_is_never_replaced(
    store: FilesystemStorageProvider, content: bytes
) -> None:
    await store.write(MESSAGE, b"x")
    sidecar = store.root / f"{MESSAGE}.meta.json"
    sidecar.write_bytes(content)
    with pytest.raises(RecordDamagedError, match="record of 'executions") as caught:
        await store.metadata(MESSAGE)
    assert caught.value.key == MESSAGE
    assert "restore it from a copy, or delete it" in caught.value.hint
    with pytest.raises(ObjectExistsError):
        await store.write(MESSAGE, b"y", {"n": 2})
    assert sidecar.read_bytes() == content
    assert await keys_of(store, "executions", records=True) == [MESSAGE]


async def test_an_empty_record_is_none_and_the_next_one_takes_its_place(
    store: FilesystemStorageProvider,
) -> None:
    """A name without bytes is what a loss of power leaves of a record; it was never written."""
    await store.write(MESSAGE, b"x", {"n": 1})
    sidecar = store.root / f"{MESSAGE}.meta.json"
    sidecar.write_bytes(b"")
    with pytest.raises(ObjectNotFoundError):
        await store.metadata(MESSAGE)
    assert await keys_of(store, "executions", records=True) == []
    assert await store.write(MESSAGE, b"y", {"n": 2}) == f"{MESSAGE}~2"
    assert await store.metadata(MESSAGE) == {"n": 2, "output_key": f"{MESSAGE}~2"}
    assert await store.read(MESSAGE) == b"x"


def test_of_two_that_meet_an_empty_record_none_removes_the_others(tmp_path: Path) -> None:
    """The one that comes second sees its lock on a file that is no longer the one of the name."""
    record = tmp_path / "m.meta.json"
    record.write_bytes(b"")
    with record.open("rb") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as other:
            second = other.submit(remove_if_empty, str(record))
            with pytest.raises(TimeoutError):
                second.result(timeout=0.3)  # it waits for the lock
            record.unlink()
            record.write_bytes(b"{}")
            fcntl.flock(first, fcntl.LOCK_UN)
            assert second.result() is False
    assert record.read_bytes() == b"{}"


async def test_unfinished_and_foreign_files_are_not_listed(
    store: FilesystemStorageProvider,
) -> None:
    await store.write("a/b", b"x")
    (store.root / f"a/{TEMP_PREFIX}0f").write_bytes(b"half")
    (store.root / "a/new\nline").write_bytes(b"x")
    if LINUX:
        os.mknod(os.fsencode(store.root) + b"/a/latin\xe9")
    os.mkfifo(store.root / "a/pipe")
    assert await keys_of(store, "") == ["a/b"]
    with pytest.raises(ObjectNotFoundError):
        await store.read("a/pipe")


def test_staging_is_chosen_by_what_the_system_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if LINUX:
        assert choose_staging(str(tmp_path)) is UnnamedFile
    monkeypatch.setattr(staged_file, "_O_TMPFILE", None)
    assert choose_staging(str(tmp_path)) is TemporaryFile
    assert files_in(tmp_path) == []


@pytest.mark.skipif(not LINUX, reason="paths of descriptors are read from /proc")
@pytest.mark.parametrize("durability", ["os", "fsync"])
async def test_fsync_covers_files_their_folder_and_new_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append("file" if "#" in path.name else str(path.relative_to(tmp_path)))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    store = FilesystemStorageProvider(tmp_path, durability=durability)
    await store.write("a/b/m", b"x", {"n": 1})
    folders = [".", "a"]
    expected = [*folders, "file", "a/b", "file", "a/b"] if durability == "fsync" else []
    assert synced == expected
    await store.close()


@pytest.mark.skipif(not LINUX, reason="posix_fadvise is Linux's")
async def test_object_that_fell_out_of_the_page_cache_is_read(
    store: FilesystemStorageProvider,
) -> None:
    data = bytes(range(256)) * 200
    await store.write("a/b", data)
    with (store.root / "a/b").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert await store.read("a/b") == data


# -- symbolic links --------------------------------------------------------------------------------


async def test_symbolic_links_lead_nowhere(
    store: FilesystemStorageProvider, tmp_path: Path
) -> None:
    """Neither a linked file nor a linked folder, inside or outside the root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (outside / "secret.meta.json").write_text("{}")
    await store.write("a/b", b"x")
    (store.root / "door").symlink_to(outside)
    (store.root / "a/file").symlink_to(outside / "secret")
    (store.root / "a/file2.meta.json").symlink_to(outside / "secret.meta.json")
    for key in ("door/secret", "a/file", "a/file2", "door"):
        assert not await store.exists(key)
        for call in (store.read, store.info, store.metadata):
            with pytest.raises(ObjectNotFoundError):
                await call(key)
    assert await keys_of(store, "") == ["a/b"]
    assert await keys_of(store, "door") == []
    assert await keys_of(store, "", records=True) == []
    with pytest.raises(KeyRefusedError, match="symbolic link"):
        await store.write("door/new", b"x", {"n": 1})
    await store.delete("door/secret")
    assert files_in(outside) == ["secret", "secret.meta.json"]


async def test_root_itself_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = FilesystemStorageProvider(tmp_path / "link")
    await store.write("a/b", b"x")
    assert await keys_of(store, "") == ["a/b"]
    await store.close()


# -- the writer ------------------------------------------------------------------------------------


async def test_more_writers_than_the_backlog_holds_all_get_their_answer(
    store: FilesystemStorageProvider,
) -> None:
    names = await asyncio.gather(*(store.write(f"{STAGE}/{i}", b"x") for i in range(3000)))
    assert len(set(names)) == 3000


async def test_cancelled_waiters_give_their_place_back(store: FilesystemStorageProvider) -> None:
    for _ in range(3):
        tasks = [asyncio.create_task(store.write(f"a/{i}", b"x")) for i in range(1500)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert await store.write("b", b"x") == "b"


def test_store_of_another_event_loop_is_refused(tmp_path: Path) -> None:
    store = FilesystemStorageProvider(tmp_path)
    asyncio.run(store.write("a", b"x"))
    with pytest.raises(RuntimeError, match="one event loop"):
        asyncio.run(store.write("b", b"x"))
    asyncio.run(store.close())
