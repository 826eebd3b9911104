"""The filesystem store in trouble: its folder gone, its disk full, its process killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.staged_file import TemporaryFile, UnnamedFile
from factflow_protocols.errors import ObjectExistsError, StorageUnavailableError
from factflow_testing.storage_contract import keys_of

LINUX = sys.platform == "linux"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FilesystemStorageProvider]:
    store = FilesystemStorageProvider(tmp_path / "store")
    yield store
    await store.close()


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# -- trouble of the store --------------------------------------------------------------------------


async def test_store_that_is_gone_is_unavailable_and_not_empty(
    store: FilesystemStorageProvider,
) -> None:
    await store.write("a/b", b"x")
    store.root.rename(store.root.with_name("elsewhere"))
    calls = [
        store.read("a/b"),
        store.exists("a/b"),
        store.info("a/b"),
        store.metadata("a/b"),
        store.write("a/c", b"x"),
        store.write("new/c", b"x", {"n": 1}),
        store.delete("a/b"),
        keys_of(store, "a"),
        keys_of(store, ""),
    ]
    for call in calls:
        with pytest.raises(StorageUnavailableError, match="is gone"):
            await call
    assert not store.root.exists(), "a lost mount point must not be filled"
    store.root.with_name("elsewhere").rename(store.root)
    assert await store.read("a/b") == b"x"
    await store.write("a/c", b"x")


def test_root_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailableError, match="cannot use") as caught:
        FilesystemStorageProvider(tmp_path / "file" / "store")
    assert caught.value.hint


async def test_closed_store_refuses_writes(store: FilesystemStorageProvider) -> None:
    await store.write("a", b"x")
    await store.close()
    with pytest.raises(StorageUnavailableError, match="closed"):
        await store.write("b", b"x")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mounted)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small tmpfs can be mounted by root only")
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)


@pytest.mark.parametrize("staging", [UnnamedFile, TemporaryFile])
async def test_full_disk_is_unavailable_and_resumes_by_itself(
    small_disk: Path, staging: type[UnnamedFile] | type[TemporaryFile]
) -> None:
    store = FilesystemStorageProvider(small_disk, staging=staging)
    await store.write("ballast", b"x" * 150_000)
    with pytest.raises(StorageUnavailableError, match="is full") as caught:
        await store.write("a/b", b"x" * 200_000, {"n": 1})
    assert caught.value.hint
    assert await keys_of(store, "") == ["ballast"]
    assert files_in(small_disk) == ["ballast"]
    await store.delete("ballast")
    assert await store.write("a/b", b"x" * 200_000, {"n": 1}) == "a/b"
    await store.close()


async def test_disk_full_at_the_record_takes_the_artefact_back(small_disk: Path) -> None:
    """Else every retry would leave another `~n` behind on a disk that is full already."""
    store = FilesystemStorageProvider(small_disk)
    for _ in range(3):
        with pytest.raises(StorageUnavailableError, match="is full"):
            await store.write("a/b", b"x" * 100_000, {"long": "x" * 200_000})
        assert files_in(small_disk) == []
    assert await store.write("a/b", b"x" * 100_000, {"n": 1}) == "a/b"
    await store.close()


# -- crashes ---------------------------------------------------------------------------------------

_WRITE_ONCE = """
import asyncio, sys
from factflow_infra.storage import staged_file
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.filesystem import Durability
from factflow_infra.storage.staged_file import TemporaryFile, UnnamedFile, choose_staging

async def main(root, staging):
    store = FilesystemStorageProvider(root, staging=globals()[staging])
    await store.write("r/s/m", b"first", {"try": 1}, extension=".txt")

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("staging", ["UnnamedFile", "TemporaryFile"])
@pytest.mark.parametrize(
    ("point", "objects", "committed"),
    [
        ("storage.artefact.before", [], False),
        ("storage.artefact.after", ["r/s/m.txt"], False),
        ("storage.record.before", ["r/s/m.txt"], False),
        ("storage.record.after", ["r/s/m.txt"], True),
    ],
)
async def test_process_killed_between_artefact_and_record(
    tmp_path: Path, staging: str, point: str, objects: list[str], committed: bool
) -> None:
    """What a dead try left is complete or absent, and the next try commits beside it."""
    if staging == "UnnamedFile" and not LINUX:
        pytest.skip("O_TMPFILE is Linux's")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _WRITE_ONCE,
        str(tmp_path),
        staging,
        env={**os.environ, "FACTFLOW_CRASH_POINT": point},
    )
    assert await process.wait() == -signal.SIGKILL
    store = FilesystemStorageProvider(tmp_path)
    assert await keys_of(store, "") == objects
    for name in objects:
        assert await store.read(name) == b"first"
    if committed:
        with pytest.raises(ObjectExistsError):
            await store.write("r/s/m", b"second", {"try": 2}, extension=".txt")
        assert (await store.metadata("r/s/m"))["try"] == 1
    else:
        name = "r/s/m~2.txt" if objects else "r/s/m.txt"
        assert await store.write("r/s/m", b"second", {"try": 2}, extension=".txt") == name
        assert await store.read(name) == b"second"
        assert await store.metadata("r/s/m") == {"try": 2, "output_key": name}
    await store.close()
