"""Promises about deleting all that lies below a prefix."""

from __future__ import annotations

import asyncio

import pytest

from factflow_protocols.errors import KeyRefusedError
from factflow_protocols.storage import StorageProtocol
from factflow_testing.storage_rig import HOSTILE_KEYS, MESSAGE, StorageFixtures, keys_of

OTHERS = (
    "executions/e1",
    "executions/e1.x/crawl/fetch/aa",
    "executions/e10/crawl/fetch/aa",
    "executions/e2/crawl/fetch/aa",
    "notes/e1/a",
)


class PrefixPromises(StorageFixtures):
    """All below a prefix goes, and nothing else."""

    async def test_deleted_execution_takes_no_other_with_it(self, store: StorageProtocol) -> None:
        for key in (MESSAGE, "executions/e1/_plan", "executions/e1/crawl/split/bb", *OTHERS[1:]):
            await store.write(key, b"x", {"key": key}, extension=".txt")
        await store.delete_prefix("executions/e1")
        assert await keys_of(store, "") == sorted(f"{key}.txt" for key in OTHERS[1:])
        assert await keys_of(store, "", records=True) == sorted(OTHERS[1:])
        assert await keys_of(store, "executions/e1") == []
        assert not await store.exists(f"{MESSAGE}.txt")

    @pytest.mark.parametrize("prefix", ["executions/e1/crawl", "notes/a", "notes/a/"])
    async def test_prefix_is_of_whole_segments(self, store: StorageProtocol, prefix: str) -> None:
        folder = prefix.rstrip("/")
        gone = [f"{folder}/one", f"{folder}/deep/er/two"]
        kept = [f"{folder}-b/three", f"{folder}0/four", f"{folder}.txt"]
        for key in gone + kept:
            await store.write(key, b"x", {"key": key})
        await store.delete_prefix(prefix)
        assert await keys_of(store, "") == sorted(kept)

    async def test_many_objects_and_lone_records_go(self, store: StorageProtocol) -> None:
        keys = [f"executions/e1/crawl/fetch/{i:032x}" for i in range(1200)]
        await asyncio.gather(
            *(
                store.write(key, None if i % 3 == 0 else b"x", {"i": i})
                for i, key in enumerate(keys)
            )
        )
        await store.write("executions/e1/crawl/split/aa", b"x", {"i": 0})
        await store.delete_prefix("executions/e1/crawl/fetch")
        assert await keys_of(store, "executions/e1", records=True) == [
            "executions/e1/crawl/split/aa"
        ]
        assert await keys_of(store, "executions/e1") == ["executions/e1/crawl/split/aa"]

    async def test_deleted_names_are_free(self, store: StorageProtocol) -> None:
        await store.write(MESSAGE, b"first", {"n": 1}, extension=".txt")
        assert await store.read(f"{MESSAGE}.txt") == b"first"
        await store.delete_prefix("executions/e1")
        assert await store.write(MESSAGE, b"second", {"n": 2}, extension=".txt") == f"{MESSAGE}.txt"
        assert await store.read(f"{MESSAGE}.txt") == b"second"
        assert (await store.metadata(MESSAGE))["n"] == 2

    async def test_artefacts_go_and_what_tells_of_them_stays(self, store: StorageProtocol) -> None:
        stage = "executions/e1/crawl/fetch"
        for number in range(700):
            await store.write(f"{stage}/{number:032x}", b"x" * 50, {"n": number}, extension=".txt")
        await store.write(f"{stage}/aa~children-1", b"[]", extension=".json")
        await store.write("executions/e1/_plan", b"plan", {"n": 1})
        await store.write("executions/e1/_init", b"{}", {"n": 2}, extension=".json")
        await store.write("executions/e2/crawl/fetch/aa", b"x", {"n": 3})
        before = await keys_of(store, "", records=True)
        told: list[int] = []
        for _ in range(2):
            await store.delete_prefix("executions/e1", artefacts_only=True, tell=told.append)
        assert sum(told) == 701
        assert await keys_of(store, "") == [
            "executions/e1/_plan",
            f"{stage}/aa~children-1.json",
            "executions/e2/crawl/fetch/aa",
        ]
        assert await keys_of(store, "", records=True) == before
        assert (await store.metadata(f"{stage}/{5:032x}"))["n"] == 5
        assert await store.read("executions/e1/_plan") == b"plan"
        await store.delete_prefix("executions/e1")
        assert await keys_of(store, "executions/e1", records=True) == []

    async def test_deleting_nothing_is_no_error(self, store: StorageProtocol) -> None:
        await store.write("a/b", b"x")
        for prefix in ("executions/e1", "a/b", "a/b/c", "nothing"):
            await store.delete_prefix(prefix)
        assert await keys_of(store, "") == ["a/b"]

    async def test_deletion_that_was_cut_off_goes_on(self, store: StorageProtocol) -> None:
        keys = [f"executions/e1/crawl/fetch/{i:032x}" for i in range(900)]
        await asyncio.gather(*(store.write(key, b"x", {"key": key}) for key in keys))
        deletion = asyncio.create_task(store.delete_prefix("executions/e1/crawl"))
        await asyncio.sleep(0)
        deletion.cancel()
        await asyncio.gather(deletion, return_exceptions=True)
        await store.delete_prefix("executions/e1/crawl")
        assert await keys_of(store, "") == []
        assert await keys_of(store, "", records=True) == []

    async def test_others_are_written_meanwhile(self, store: StorageProtocol) -> None:
        keys = [f"executions/e1/crawl/fetch/{i:032x}" for i in range(600)]
        await asyncio.gather(*(store.write(key, b"x") for key in keys))
        deletion = asyncio.create_task(store.delete_prefix("executions/e1"))
        await asyncio.gather(*(store.write(f"executions/e2/a/b/{i}", b"x") for i in range(50)))
        await deletion
        assert len(await keys_of(store, "")) == 50

    @pytest.mark.parametrize("key", HOSTILE_KEYS.values(), ids=HOSTILE_KEYS.keys())
    async def test_hostile_prefixes_are_refused(self, store: StorageProtocol, key: str) -> None:
        if key.endswith("/"):
            return
        await store.write("a/b", b"x")
        with pytest.raises(KeyRefusedError):
            await store.delete_prefix(key)
        assert await keys_of(store, "") == ["a/b"]
