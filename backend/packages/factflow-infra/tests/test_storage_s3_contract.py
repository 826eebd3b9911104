"""The S3 provider keeps all that a store promises, on a server that is a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from factflow_infra.storage.address import BucketAddress
from factflow_infra.storage.s3.provider import S3StorageProvider
from factflow_protocols.storage import StorageProtocol
from factflow_testing.s3_server import S3Server
from factflow_testing.storage_contract import StorageContract
from factflow_testing.storage_first_promises import FirstStandsPromises
from factflow_testing.storage_level_promises import LevelPromises
from factflow_testing.storage_object_promises import ObjectPromises
from factflow_testing.storage_record_promises import RecordPromises
from factflow_testing.storage_scan_promises import ScanPromises


class TestS3StoreInShort(
    ObjectPromises, RecordPromises, FirstStandsPromises, LevelPromises, ScanPromises
):
    """Below a prefix of a bucket; without the promises that take thousands of objects to see."""

    @pytest.fixture
    async def store(self, s3_server: S3Server) -> AsyncIterator[StorageProtocol]:
        address = BucketAddress(s3_server.make_bucket(), "some/prefix")
        store = S3StorageProvider(address, s3_server.environment())
        yield store
        await store.close()


@pytest.mark.long
class TestS3Store(StorageContract):
    """All of them, at the top of a bucket."""

    @pytest.fixture
    async def store(self, s3_server: S3Server) -> AsyncIterator[StorageProtocol]:
        store = S3StorageProvider(
            BucketAddress(s3_server.make_bucket(), ""), s3_server.environment()
        )
        yield store
        await store.close()
