"""Promises about listings: which keys, in which order."""

from __future__ import annotations

import asyncio

from factflow_protocols.storage import StorageProtocol
from factflow_testing.storage_rig import STAGE, StorageFixtures, keys_of


class ListingPromises(StorageFixtures):
    """A listing is complete, in order, and ends where its prefix does."""

    async def test_listing_is_in_the_order_of_whole_keys(self, store: StorageProtocol) -> None:
        """Folders do not come first or last: `a-b` < `a.b` < `a/b` < `a0` by their signs."""
        keys = [
            "a/b",
            "a-b/c",
            "a.b",
            "a0",
            "a/b.c",
            "a/b-c/d",
            "B",
            "ä",
            "a/ä",
            "a/z/y/x",
            "🦊",
            "ﬀ",
        ]
        for key in keys:
            await store.write(key, b"x")
        assert await keys_of(store, "") == sorted(keys)

    async def test_listing_of_records_is_in_the_order_of_keys(self, store: StorageProtocol) -> None:
        keys = ["r/a", "r/a/b", "r/a-b", "r/ab", "r/a0/c", "r/Z"]
        for key in keys:
            await store.write(key, None, {"key": key})
        assert await keys_of(store, "r", records=True) == sorted(keys)

    async def test_prefix_ends_at_a_segment(self, store: StorageProtocol) -> None:
        for key in ("a/b/one", "a/b/two/three", "a/bc/four", "a/b.five", "ab/six"):
            await store.write(key, b"x", {"key": key})
        assert await keys_of(store, "a/b") == ["a/b/one", "a/b/two/three"]
        assert await keys_of(store, "a/b/") == ["a/b/one", "a/b/two/three"]
        assert await keys_of(store, "a/b", records=True) == ["a/b/one", "a/b/two/three"]
        assert await keys_of(store, "b") == []

    async def test_listing_tells_objects_and_records_apart(self, store: StorageProtocol) -> None:
        await store.write(f"{STAGE}/aa", b"12345", {"n": 1}, extension=".html")
        await store.write(f"{STAGE}/bb", None, {"n": 2})
        await store.write(f"{STAGE}/cc", b"123", extension=".txt")
        objects = [(entry.key, entry.size) async for entry in store.list(STAGE)]
        assert objects == [(f"{STAGE}/aa.html", 5), (f"{STAGE}/cc.txt", 3)]
        assert await keys_of(store, STAGE, records=True) == [f"{STAGE}/aa", f"{STAGE}/bb"]

    async def test_listing_what_is_not_there_is_empty(self, store: StorageProtocol) -> None:
        assert await keys_of(store, "") == []
        await store.write("a/b", b"x")
        for prefix in ("nothing", "a/b", "a/b/c", "a/nothing/deep"):
            assert await keys_of(store, prefix) == []
            assert await keys_of(store, prefix, records=True) == []

    async def test_long_listing_is_complete_and_lets_others_run(
        self, store: StorageProtocol
    ) -> None:
        keys = [f"{STAGE}/{i:032x}" for i in range(1500)]
        await asyncio.gather(*(store.write(key, b"x") for key in keys))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        assert await keys_of(store, "executions") == keys
        counter.cancel()
        assert turns > 0

    async def test_listing_survives_changes_under_way(self, store: StorageProtocol) -> None:
        keys = [f"{STAGE}/{i:032x}" for i in range(700)]
        await asyncio.gather(*(store.write(key, b"x") for key in keys))
        seen = []
        async for entry in store.list(STAGE):
            seen.append(entry.key)
            if len(seen) == 1:
                await asyncio.gather(*(store.delete(key) for key in keys[600:]))
        assert seen[:600] == keys[:600]
