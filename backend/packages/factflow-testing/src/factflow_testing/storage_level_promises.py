"""Promises about pages, levels and sums: a large store is looked at a little at a time."""

from __future__ import annotations

import asyncio

import pytest

from factflow_protocols.storage import ObjectInfo, StorageProtocol, StorageUsage
from factflow_testing.storage_rig import STAGE, StorageFixtures, keys_of

KEYS = [
    "a-b/c",
    "a.b",
    "a/b-c/d",
    "a/b.c",
    "a/z/y/x",
    "a0",
    "b/c",
    "executions/e1/r/s/m",
    "ä/ö",
    "🦊",
]


def shown(items: object) -> list[str]:
    """Objects by their keys, prefixes as they are."""
    assert isinstance(items, list)
    return [item.key if isinstance(item, ObjectInfo) else str(item) for item in items]


class LevelPromises(StorageFixtures):
    """Pages put together are the listing; levels put together are the tree."""

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    async def test_pages_are_the_listing_cut(self, store: StorageProtocol, limit: int) -> None:
        for key in KEYS:
            await store.write(key, b"x", {"n": 1})
        await store.write("a/z/record-alone", None, {"n": 1})
        for prefix in ("", "a", "executions/e1"):
            found: list[str] = []
            while page := await store.page(prefix, after=found[-1] if found else "", limit=limit):
                assert len(page) <= limit
                found += [info.key for info in page]
            assert found == await keys_of(store, prefix)

    async def test_page_begins_behind_a_key_that_is_not_there(self, store: StorageProtocol) -> None:
        for key in ("a/b/1", "a/b/3", "a/c"):
            await store.write(key, b"123")
        assert [info.key for info in await store.page("a", after="a/b/2", limit=9)] == [
            "a/b/3",
            "a/c",
        ]
        assert [info.size for info in await store.page("a", after="", limit=1)] == [3]
        assert list(await store.page("a", after="b", limit=9)) == []
        assert list(await store.page("nothing", limit=9)) == []

    @pytest.mark.parametrize("limit", [1, 100])
    async def test_level_has_objects_and_prefixes_in_order(
        self, store: StorageProtocol, limit: int
    ) -> None:
        for key in [*KEYS, "executions/e2/r/s/m"]:
            await store.write(key, b"x", {"n": 1})
        await store.write("a/only/record", None, {"n": 1})
        for prefix, expected in {
            "": ["a-b/", "a.b", "a/", "a0", "b/", "executions/", "ä/", "🦊"],
            "a": ["a/b-c/", "a/b.c", "a/only/", "a/z/"],
            "executions": ["executions/e1/", "executions/e2/"],
            "executions/e1": ["executions/e1/r/"],
            "executions/e1/r/s": ["executions/e1/r/s/m"],
            "nothing": [],
        }.items():
            found: list[str] = []
            while part := list(
                await store.level(prefix, after=found[-1] if found else "", limit=limit)
            ):
                assert len(part) <= limit
                found += shown(part)
            assert found == expected

    async def test_sums_grow_to_the_whole(self, store: StorageProtocol) -> None:
        keys = [f"{STAGE}/{i:032x}" for i in range(300)]
        await asyncio.gather(*(store.write(key, b"12345") for key in keys))
        await store.write(f"{STAGE}/r", None, {"n": 1})
        await store.write("executions/e2/a/b/c", b"x")
        sums = [one async for one in store.usage("executions/e1")]
        whole = sums[-1]
        assert (whole.objects, whole.records) == (300, 1)
        assert whole.bytes >= 1500
        assert whole.disk_bytes > 0
        assert [one.objects for one in sums] == sorted(one.objects for one in sums)
        assert [one async for one in store.usage("")][-1].objects == 301
        assert [one async for one in store.usage("executions/e3")] == [StorageUsage()]
