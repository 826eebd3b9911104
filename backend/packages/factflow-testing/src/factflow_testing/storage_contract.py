"""What every object store has to keep: `StorageProtocol` as tests.

Subclass `StorageContract` in a test module and override one fixture, `store`::

    class TestMyStore(StorageContract):
        @pytest.fixture
        async def store(self) -> AsyncIterator[StorageProtocol]:
            store = MyStore()
            yield store
            await store.close()

The store is empty at the start of every test.
"""

from __future__ import annotations

from factflow_testing.storage_first_promises import FirstStandsPromises
from factflow_testing.storage_level_promises import LevelPromises
from factflow_testing.storage_listing_promises import ListingPromises
from factflow_testing.storage_object_promises import ObjectPromises
from factflow_testing.storage_prefix_promises import PrefixPromises
from factflow_testing.storage_record_promises import RecordPromises
from factflow_testing.storage_rig import MESSAGE, STAGE, keys_of
from factflow_testing.storage_scan_promises import ScanPromises

__all__ = ["MESSAGE", "STAGE", "StorageContract", "keys_of"]


class StorageContract(
    ObjectPromises,
    RecordPromises,
    FirstStandsPromises,
    ListingPromises,
    PrefixPromises,
    LevelPromises,
    ScanPromises,
):
    """The suite. Not collected by itself: its name has no `Test` in front."""
