"""The journalled store keeps the promises of a store, and tells of every commit that took place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from factflow_infra.storage.commit_journal import JournalledStorage
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_protocols.errors import ObjectExistsError
from factflow_protocols.storage import StorageProtocol
from factflow_testing.storage_contract import MESSAGE, StorageContract


class TestJournalledStore(StorageContract):
    """Whoever uses it notices nothing."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[StorageProtocol]:
        store = journalled(tmp_path)
        yield store
        await store.close()


def journalled(folder: Path) -> JournalledStorage:
    return JournalledStorage(FilesystemStorageProvider(folder / "s"), folder / "journal")


def told(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "journal").read_text()
    return [json.loads(line) for line in text.splitlines() if line]


async def test_a_commit_is_told_with_the_hashes_of_both_its_files(tmp_path: Path) -> None:
    store = journalled(tmp_path)
    name = await store.write(MESSAGE, b"data", {"b": 1.5, "a": "ü"}, extension=".txt")
    await store.write(f"{MESSAGE}0", None, {"outcome": "filtered"})
    await store.close()
    with_data, alone = told(tmp_path)
    record = json.dumps(
        json.loads((tmp_path / "s" / f"{MESSAGE}.meta.json").read_bytes()),
        sort_keys=True,
        separators=(",", ":"),
    )
    assert (with_data["key"], with_data["object"]) == (MESSAGE, name)
    assert with_data["object_sha256"] == hashlib.sha256(b"data").hexdigest()
    assert with_data["record_sha256"] == hashlib.sha256(record.encode()).hexdigest()
    assert (alone["key"], alone["object"], alone["object_sha256"]) == (f"{MESSAGE}0", None, None)


async def test_what_was_refused_or_is_no_commit_is_not_told(tmp_path: Path) -> None:
    store = journalled(tmp_path)
    await store.write(MESSAGE, b"first", {})
    with pytest.raises(ObjectExistsError):
        await store.write(MESSAGE, b"second", {})
    await store.write(f"{MESSAGE}0", b"an artefact alone")
    await store.close()
    assert [line["key"] for line in told(tmp_path)] == [MESSAGE]
