"""The URI picks the store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from factflow_infra.storage.address import StorageUriError
from factflow_infra.storage.factory import create_storage_provider
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.packed.provider import PackedStorageProvider
from factflow_infra.storage.packed_marker import StorageLayoutError


@pytest.mark.parametrize("host", ["", "localhost"])
def test_file_uri_opens_a_folder_and_makes_it(tmp_path: Path, host: str) -> None:
    folder = tmp_path / "with space" / "new"
    uri = folder.as_uri().replace("file://", f"file://{host}")
    store = create_storage_provider(uri)
    assert isinstance(store, FilesystemStorageProvider)
    assert store.root == folder
    assert folder.is_dir()


def test_relative_file_uri_counts_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = create_storage_provider("file://./output/storage", durability="fsync")
    assert isinstance(store, FilesystemStorageProvider)
    assert store.root == tmp_path / "output/storage"


def test_packed_uri_opens_packed_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    absolute = create_storage_provider((tmp_path / "a b").as_uri().replace("file:", "packed:"))
    relative = create_storage_provider("packed://./output/storage")
    for store, folder in ((absolute, "a b"), (relative, "output/storage")):
        assert isinstance(store, PackedStorageProvider)
        assert store.root == tmp_path / folder


def test_uri_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    uri = tmp_path.as_uri()
    create_storage_provider(uri.replace("file:", "packed:"))
    with pytest.raises(StorageLayoutError):
        create_storage_provider(uri)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3x://bucket", "no storage provider for s3x://"),
        ("/plain/path", "no scheme"),
        ("", "no scheme"),
        ("file://server/share", "host 'server'"),
        ("file:path", "two slashes"),
        ("packed:path", "two slashes"),
        ("packed://server/share", "packed:// URI cannot name the host"),
        ("packed:///a#b", "neither"),
        ("file://", "names no folder"),
        ("file:///a%00b", "names no folder"),
        ("file:///a?b", "neither"),
        ("http://[bad", "cannot be read"),
    ],
)
def test_other_uris_are_refused_with_what_to_write(uri: str, reason: str) -> None:
    with pytest.raises(StorageUriError, match=reason) as caught:
        create_storage_provider(uri)
    assert caught.value.hint


def test_folders_need_no_s3_library(tmp_path: Path) -> None:
    """It takes its time and memory only where it is used."""
    program = (
        "import sys, factflow_infra.storage.factory as storage\n"
        f"storage.create_storage_provider({tmp_path.as_uri()!r})\n"
        "sys.exit('obstore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_refusal_shows_no_credentials() -> None:
    with pytest.raises(StorageUriError) as caught:
        create_storage_provider("ftp://user:hush@host/path")
    assert "hush" not in str(caught.value)
