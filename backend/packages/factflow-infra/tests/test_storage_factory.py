"""The URI picks the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from factflow_infra.storage import (
    FilesystemStorageProvider,
    StorageUriError,
    create_storage_provider,
)


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


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3x://bucket", "no storage provider for s3x://"),
        ("/plain/path", "no scheme"),
        ("", "no scheme"),
        ("file://server/share", "host 'server'"),
        ("file:path", "two slashes"),
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


def test_refusal_shows_no_credentials() -> None:
    with pytest.raises(StorageUriError) as caught:
        create_storage_provider("ftp://user:hush@host/path")
    assert "hush" not in str(caught.value)
