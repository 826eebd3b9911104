"""Promises about what many keys are asked at once: listings without an order, records with what lies beside
them, many records, many names."""

from __future__ import annotations

import asyncio

import pytest

from factflow_protocols.errors import KeyRefusedError
from factflow_protocols.storage import RecordInfo, StorageProtocol
from factflow_testing.storage_rig import STAGE, StorageFixtures, keys_of


class ScanPromises(StorageFixtures):
    """What is asked for many keys together is what each of them would have answered."""

    @pytest.mark.parametrize("records", [False, True])
    async def test_listing_without_order_has_the_same_keys(
        self, store: StorageProtocol, records: bool
    ) -> None:
        for key in ("a/b", "a-b/c", "a0", "a/b-c/d", "a/z/y/x", "ä/ö"):
            await store.write(key, b"12345", {"n": 1}, extension=".txt")
            await store.write(f"{key}-alone", None, {"n": 2})
        found = [item async for item in store.list("", records=records, ordered=False)]
        assert sorted(item.key for item in found) == await keys_of(store, "", records=records)
        inside = [item.key async for item in store.list("a/b", ordered=False)]
        assert inside == []
        if not records:
            assert {item.size for item in found} == {5}

    async def test_record_listing_tells_what_lies_beside(self, store: StorageProtocol) -> None:
        await store.write(f"{STAGE}/stored", b"x", {"n": 1}, extension=".html")
        await store.write(f"{STAGE}/failed", None, {"n": 2})
        await store.write(f"{STAGE}/twice", b"lost", extension=".html")
        name = await store.write(f"{STAGE}/twice", b"x", {"n": 3}, extension=".html")
        await store.write(f"{STAGE}/left", b"lost", extension=".json")
        await store.write(f"{STAGE}/left", None, {"n": 4})
        await store.write(f"{STAGE}/child", b"x", extension=".json")
        await store.write(f"{STAGE}/fan", None, {"n": 5})
        await store.write(f"{STAGE}/fan~children-1", b"[]", extension=".json")
        await store.write(f"{STAGE}/hurt", b"x", {"n": 6})
        await store.write(f"{STAGE}/hurt~damaged", None, {"n": 7})
        assert name == f"{STAGE}/twice~2.html"
        found = [item async for item in store.list_records("executions")]
        assert found == [
            RecordInfo(f"{STAGE}/failed", ()),
            RecordInfo(f"{STAGE}/fan", ()),
            RecordInfo(f"{STAGE}/hurt", (f"{STAGE}/hurt",)),
            RecordInfo(f"{STAGE}/hurt~damaged", ()),
            RecordInfo(f"{STAGE}/left", (f"{STAGE}/left.json",)),
            RecordInfo(f"{STAGE}/stored", (f"{STAGE}/stored.html",)),
            RecordInfo(f"{STAGE}/twice", (f"{STAGE}/twice.html", f"{STAGE}/twice~2.html")),
        ]
        alone = [item async for item in store.list_records(STAGE, alone=True)]
        assert alone == [item for item in found if not item.objects]

    @pytest.mark.parametrize("alone", [False, True])
    async def test_record_listing_is_in_the_order_of_keys(
        self, store: StorageProtocol, alone: bool
    ) -> None:
        keys = ["r/a", "r/a/b", "r/a-b", "r/ab", "r/a0/c", "r/Z", "r/ä", "r/a~x", "ra"]
        for key in keys:
            await store.write(
                key, None if alone else b"x", {"key": key}, extension=".txt" * (not alone)
            )
        found = [item.key async for item in store.list_records("r", alone=alone)]
        assert found == sorted(keys[:-1])
        assert [item.key async for item in store.list_records("", alone=alone)] == sorted(keys)
        assert [item async for item in store.list_records("r/nothing", alone=alone)] == []

    async def test_many_records_are_read_together(self, store: StorageProtocol) -> None:
        keys = [f"{STAGE}/{n:03}" for n in range(150)] + ["elsewhere/x", "elsewhere/y"]
        await asyncio.gather(
            *(store.write(key, b"x", {"key": key, "big": "b" * 700}) for key in keys)
        )
        await store.write("elsewhere/large", None, {"text": "z" * 200_000})
        wanted = [*reversed(keys), f"{STAGE}/nobody", "nowhere/x", "elsewhere/large"]
        found = await store.metadata_of(wanted)
        texts = [one["key"] if isinstance(one, dict) and "key" in one else one for one in found]
        assert texts[: len(keys)] == wanted[: len(keys)]
        assert texts[-3:] == [None, None, {"text": "z" * 200_000}]
        assert await store.metadata_of([]) in ([], ())
        with pytest.raises(KeyRefusedError):
            await store.metadata_of(["../outside"])

    async def test_missing_names_are_told(self, store: StorageProtocol) -> None:
        await store.write(f"{STAGE}/a", b"x", {"n": 1}, extension=".txt")
        await store.write(f"{STAGE}/b", None, {"n": 2})
        names = [f"{STAGE}/a.txt", f"{STAGE}/a", f"{STAGE}/b", "nowhere/c"]
        assert list(await store.missing(names)) == names[1:]
        assert list(await store.missing([])) == []
