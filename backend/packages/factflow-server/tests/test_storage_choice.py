"""A data folder keeps to the store it was begun with."""

from __future__ import annotations

from pathlib import Path

import pytest

from factflow_infra.storage.address import StorageUriError
from factflow_infra.storage.packed_marker import StorageLayoutError
from factflow_protocols.errors import FactflowError
from factflow_server.settings import ServerSettings
from factflow_server.startup import running
from factflow_server.storage_choice import StorageChangedError

KEY = "executions/e1/a/b/c"


async def write(folder: Path, storage_uri: str | None = None) -> None:
    """Start a server, have it store an object unless it is there, stop it."""
    async with running(ServerSettings(data_dir=folder, storage_uri=storage_uri)) as container:
        if not await container.storage.exists(KEY):
            await container.storage.write(KEY, b"x")


async def reads(folder: Path, storage_uri: str | None = None) -> bool:
    async with running(ServerSettings(data_dir=folder, storage_uri=storage_uri)) as container:
        return await container.storage.exists(KEY)


async def test_plain_files_are_the_default(tmp_path: Path) -> None:
    await write(tmp_path / "data")
    assert (tmp_path / "data/storage" / KEY).read_bytes() == b"x"
    assert await reads(tmp_path / "data", (tmp_path / "data/storage").as_uri())


async def test_packed_storage_in_the_data_folder_need_not_be_named_again(tmp_path: Path) -> None:
    """And it may be moved along with the folder."""
    await write(tmp_path / "data", f"packed://{tmp_path}/data/storage")
    assert (tmp_path / "data/storage/executions/e1.pack").is_file()
    assert await reads(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    assert await reads(tmp_path / "moved")
    assert await reads(tmp_path / "moved", f"packed://{tmp_path}/moved/storage")


@pytest.mark.parametrize("scheme", ["file", "packed"])
async def test_a_store_elsewhere_is_kept_in_mind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.chdir(tmp_path)
    await write(tmp_path / "data", f"{scheme}://./store")
    monkeypatch.chdir("/")
    assert await reads(tmp_path / "data")
    assert not (tmp_path / "data/storage").exists()


@pytest.mark.parametrize(
    ("begun_with", "then"),
    [
        (None, "packed://{root}/elsewhere"),
        ("packed://{root}/data/storage", "packed://{root}/elsewhere"),
        ("packed://{root}/elsewhere", "packed://{root}/data/storage"),
        ("packed://{root}/elsewhere", "file://{root}/other"),
    ],
)
async def test_another_store_is_refused(tmp_path: Path, begun_with: str | None, then: str) -> None:
    """Its executions would be without their artefacts."""
    await write(tmp_path / "data", begun_with and begun_with.format(root=tmp_path))
    with pytest.raises(StorageChangedError, match="keeps its objects in") as caught:
        await reads(tmp_path / "data", then.format(root=tmp_path))
    assert caught.value.hint
    assert await reads(tmp_path / "data")


@pytest.mark.parametrize(("begun_with", "then"), [("file", "packed"), ("packed", "file")])
async def test_the_other_kind_is_refused(tmp_path: Path, begun_with: str, then: str) -> None:
    place = f"{tmp_path}/data/storage"
    await write(tmp_path / "data", f"{begun_with}://{place}")
    with pytest.raises(StorageLayoutError, match="packed storage"):
        await reads(tmp_path / "data", f"{then}://{place}")
    assert await reads(tmp_path / "data")


async def test_a_start_that_failed_chose_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for uri, error in (
        (f"packed://{tmp_path}/file", FactflowError),
        ("packed:x", StorageUriError),
        ("s4://x", StorageUriError),
    ):
        with pytest.raises(error):
            await write(tmp_path / "data", uri)
    await write(tmp_path / "data", f"packed://{tmp_path}/store")
    assert await reads(tmp_path / "data")
