"""Promises about records: what they keep, and how they are found."""

from __future__ import annotations

from typing import Any

import pytest

from factflow_protocols.errors import ObjectNotFoundError, StorageError
from factflow_protocols.storage import StorageProtocol
from factflow_testing.storage_rig import MESSAGE, STAGE, StorageFixtures, keys_of


class RecordPromises(StorageFixtures):
    """A record comes back with every field, with an artefact or alone."""

    async def test_record_comes_back_with_every_field(self, store: StorageProtocol) -> None:
        record: dict[str, Any] = {
            "outcome": "stored",
            "attempts": 2,
            "size": 2**53,
            "share": 0.25,
            "error": None,
            "children": [{"message_id": "c1", "metadata": {"deep": [1, [2, {"three": 3}]]}}],
            "metadata": {"title": 'Grüße 🦊 "quoted" \u2028 \n', "ok": True},
            "a_field_nobody_knows": {"x": ["y"]},
        }
        name = await store.write(MESSAGE, b"data", record, extension=".txt")
        assert await store.metadata(MESSAGE) == {**record, "output_key": name}

    async def test_record_is_found_by_key_and_by_object_name(self, store: StorageProtocol) -> None:
        name = await store.write(MESSAGE, b"data", {"n": 1}, extension=".tar.gz")
        assert name is not None
        assert await store.metadata(MESSAGE) == await store.metadata(name)

    async def test_large_record_is_kept(self, store: StorageProtocol) -> None:
        record = {"children": [{"message_id": f"{i:032x}"} for i in range(4000)]}
        await store.write(MESSAGE, b"data", record)
        assert (await store.metadata(MESSAGE))["children"] == record["children"]

    async def test_record_alone_keeps_its_output_key(self, store: StorageProtocol) -> None:
        """A `failed` outcome has no artefact; a `filtered` one may point to an earlier one."""
        record = {"outcome": "filtered", "output_key": "executions/e1/crawl/load/other.html"}
        assert await store.write(MESSAGE, None, record) is None
        assert await store.metadata(MESSAGE) == record
        assert not await store.exists(MESSAGE)
        assert await keys_of(store, STAGE) == []
        assert await keys_of(store, STAGE, records=True) == [MESSAGE]

    async def test_record_alone_without_output_key_gets_none(self, store: StorageProtocol) -> None:
        await store.write(MESSAGE, None, {"outcome": "failed"})
        assert await store.metadata(MESSAGE) == {"outcome": "failed"}

    async def test_empty_record_is_a_record(self, store: StorageProtocol) -> None:
        await store.write(MESSAGE, None, {})
        assert await store.metadata(MESSAGE) == {}

    async def test_object_without_metadata_has_no_record(self, store: StorageProtocol) -> None:
        await store.write(MESSAGE, b"data", extension=".txt")
        with pytest.raises(ObjectNotFoundError):
            await store.metadata(f"{MESSAGE}.txt")
        assert await keys_of(store, "", records=True) == []

    async def test_caller_keeps_its_metadata_unchanged(self, store: StorageProtocol) -> None:
        record = {"outcome": "stored"}
        await store.write(MESSAGE, b"data", record)
        assert record == {"outcome": "stored"}

    async def test_metadata_that_is_no_json_is_refused_and_stores_nothing(
        self, store: StorageProtocol
    ) -> None:
        with pytest.raises(StorageError, match="JSON"):
            await store.write(MESSAGE, b"data", {"thing": object()})
        assert await keys_of(store, "") == []
