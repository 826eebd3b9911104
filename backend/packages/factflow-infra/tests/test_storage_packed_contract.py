"""The packed provider keeps all that a store promises, whoever writes its files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_infra.storage.packed.provider import PackedStorageProvider
from factflow_protocols.storage import StorageProtocol
from factflow_testing.storage_contract import StorageContract


@pytest.mark.long
class TestPackedStore(StorageContract):
    """The store as it comes."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[StorageProtocol]:
        store = PackedStorageProvider(tmp_path / "store")
        yield store
        await store.close()


class TestPackedStoreWithWriterProcess(StorageContract):
    """As a server has it: a process of its own writes the packs."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[StorageProtocol]:
        store = PackedStorageProvider(tmp_path / "store", writer="process")
        yield store
        await store.close()


@pytest.mark.long
class TestPackedStoreWithFsync(StorageContract):
    """`durability: fsync`."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[StorageProtocol]:
        store = PackedStorageProvider(tmp_path / "store", durability="fsync")
        yield store
        await store.close()
