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

import asyncio
import contextlib
import hashlib
import time
from typing import Any

import pytest

from factflow_protocols.errors import (
    FactflowError,
    KeyRefusedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from factflow_protocols.storage import StorageProtocol

STAGE = "executions/e1/crawl/fetch"
MESSAGE = f"{STAGE}/0123456789abcdef0123456789abcdef"

HOSTILE_KEYS = {
    "empty": "",
    "absolute": "/etc/passwd",
    "climbs": "../outside",
    "climbs inside": "a/../../outside",
    "dot segment": "a/./b",
    "empty segment": "a//b",
    "trailing slash": "a/",
    "NUL": "a\x00b",
    "newline": "a\nb",
    "delete character": "a\x7fb",
    "backslash": "..\\outside",
    "lone surrogate": "a\ud800b",
    "long segment": "x" * 201,
    "long key": "/".join(["x" * 100] * 11),
}
FINE_KEYS = {
    "space": "a folder/an object",
    "umlaut": "Straße/Übergröße",
    "emoji": "notes/🦊",
    "right to left": "مرحبا/שלום",
    "query signs": "a?b=c&d#e%20f+g",
    "hash number": "name#1",
    "quotes": 'it\'s "quoted"',
    "hidden": ".hidden/.profile",
    "longest segment": "x" * 200,
    "shell signs": "$(reboot);*|~",
}


async def keys_of(store: StorageProtocol, prefix: str, *, records: bool = False) -> list[str]:
    """Return the keys a listing yields, in its order."""
    return [entry.key async for entry in store.list(prefix, records=records)]


class StorageContract:
    """Subclass this and override `store`."""

    @pytest.fixture
    def store(self) -> StorageProtocol:
        """Give an empty store; an async generator fixture in the subclass."""
        raise NotImplementedError("override the store fixture")

    # -- writing and reading back ---------------------------------------------------------------

    async def test_written_bytes_are_read_back(self, store: StorageProtocol) -> None:
        data = bytes(range(256)) * 5
        assert await store.write("notes/a", data) == "notes/a"
        assert await store.read("notes/a") == data

    async def test_extension_is_part_of_the_name_and_not_of_the_key(
        self, store: StorageProtocol
    ) -> None:
        name = await store.write(MESSAGE, b"<p>", {"outcome": "stored"}, extension=".html")
        assert name == f"{MESSAGE}.html"
        assert await store.read(name) == b"<p>"
        assert not await store.exists(MESSAGE)
        with pytest.raises(ObjectNotFoundError):
            await store.read(MESSAGE)

    @pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000])
    async def test_any_size_is_kept_byte_by_byte(self, store: StorageProtocol, size: int) -> None:
        data = hashlib.shake_128(b"seed").digest(size)
        await store.write(MESSAGE, data, {"size": size}, extension=".bin")
        assert await store.read(f"{MESSAGE}.bin") == data
        assert (await store.info(f"{MESSAGE}.bin")).size == size

    @pytest.mark.parametrize("key", FINE_KEYS.values(), ids=FINE_KEYS.keys())
    async def test_unusual_but_harmless_keys_work(self, store: StorageProtocol, key: str) -> None:
        assert await store.write(key, b"x") == key
        assert await store.read(key) == b"x"
        assert await keys_of(store, "") == [key]
        await store.delete(key)
        assert not await store.exists(key)

    async def test_info_tells_size_and_time(self, store: StorageProtocol) -> None:
        await store.write("notes/a", b"four", extension=".txt")
        info = await store.info("notes/a.txt")
        assert (info.key, info.size) == ("notes/a.txt", 4)
        assert abs(info.modified_at - time.time()) < 3600

    async def test_nothing_to_write_is_a_mistake_of_the_caller(
        self, store: StorageProtocol
    ) -> None:
        with pytest.raises(ValueError, match="data, metadata"):
            await store.write("notes/a", None)

    async def test_different_keys_in_one_folder_do_not_meet(self, store: StorageProtocol) -> None:
        await asyncio.gather(
            *(store.write(f"{STAGE}/{i:032x}", str(i).encode(), {"i": i}) for i in range(50))
        )
        for i in range(50):
            assert await store.read(f"{STAGE}/{i:032x}") == str(i).encode()
            assert (await store.metadata(f"{STAGE}/{i:032x}"))["i"] == i

    # -- records --------------------------------------------------------------------------------

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

    # -- the first one stands -------------------------------------------------------------------

    async def test_object_is_never_replaced(self, store: StorageProtocol) -> None:
        await store.write("notes/a", b"first")
        with pytest.raises(ObjectExistsError):
            await store.write("notes/a", b"second")
        assert await store.read("notes/a") == b"first"

    async def test_record_is_never_replaced(self, store: StorageProtocol) -> None:
        name = await store.write(MESSAGE, b"first", {"n": 1}, extension=".txt")
        for data in (b"second", None):
            with pytest.raises(ObjectExistsError):
                await store.write(MESSAGE, data, {"n": 2}, extension=".txt")
        with pytest.raises(ObjectExistsError):
            await store.write(MESSAGE, b"<p>", {"n": 3}, extension=".html")
        assert await store.metadata(MESSAGE) == {"n": 1, "output_key": name}
        assert await store.read(f"{MESSAGE}.txt") == b"first"

    async def test_record_alone_stands_against_data(self, store: StorageProtocol) -> None:
        await store.write(MESSAGE, None, {"outcome": "failed"})
        with pytest.raises(ObjectExistsError):
            await store.write(MESSAGE, b"late", {"outcome": "stored"})
        assert await store.metadata(MESSAGE) == {"outcome": "failed"}

    async def test_name_taken_without_a_record_is_left_alone(self, store: StorageProtocol) -> None:
        """What a try left that died before its record is not touched, and the record tells."""
        await store.write(MESSAGE, b"left behind", extension=".html")
        name = await store.write(MESSAGE, b"counts", {"n": 1}, extension=".html")
        assert name == f"{MESSAGE}~2.html"
        assert await store.read(f"{MESSAGE}.html") == b"left behind"
        assert await store.read(name) == b"counts"
        assert await store.metadata(MESSAGE) == {"n": 1, "output_key": name}
        assert await store.metadata(name) == {"n": 1, "output_key": name}
        assert await keys_of(store, STAGE, records=True) == [MESSAGE]

    async def test_second_name_taken_goes_on_to_the_third(self, store: StorageProtocol) -> None:
        await store.write(MESSAGE, b"one", extension=".html")
        await store.write(f"{MESSAGE}~2", b"two", extension=".html")
        name = await store.write(MESSAGE, b"three", {"n": 1}, extension=".html")
        assert name == f"{MESSAGE}~3.html"
        assert (await store.metadata(MESSAGE))["output_key"] == name

    async def test_of_200_concurrent_writers_of_an_object_one_wins(
        self, store: StorageProtocol
    ) -> None:
        results = await asyncio.gather(
            *(store.write("notes/a", f"writer {i}".encode()) for i in range(200)),
            return_exceptions=True,
        )
        winners = [i for i, result in enumerate(results) if result == "notes/a"]
        assert len(winners) == 1
        assert sum(isinstance(result, ObjectExistsError) for result in results) == 199
        assert await store.read("notes/a") == f"writer {winners[0]}".encode()

    async def test_of_200_concurrent_writers_of_a_record_one_wins(
        self, store: StorageProtocol
    ) -> None:
        results = await asyncio.gather(
            *(
                store.write(MESSAGE, f"writer {i}".encode(), {"writer": i}, extension=".txt")
                for i in range(200)
            ),
            return_exceptions=True,
        )
        winners = [i for i, result in enumerate(results) if isinstance(result, str)]
        assert len(winners) == 1
        assert sum(isinstance(result, ObjectExistsError) for result in results) == 199
        record = await store.metadata(MESSAGE)
        assert record == {"writer": winners[0], "output_key": results[winners[0]]}
        assert await store.read(record["output_key"]) == f"writer {winners[0]}".encode()

    async def test_cancelled_write_is_all_or_nothing(self, store: StorageProtocol) -> None:
        """And the store goes on working: the same key can be written or stands complete."""
        tasks = [
            asyncio.create_task(store.write(f"{STAGE}/{i:032x}", b"x" * 5000, {"i": i}))
            for i in range(60)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for i in range(60):
            key = f"{STAGE}/{i:032x}"
            with contextlib.suppress(ObjectExistsError):
                await store.write(key, b"x" * 5000, {"i": i})
            record = await store.metadata(key)
            assert record["i"] == i
            assert await store.read(record["output_key"]) == b"x" * 5000

    # -- listing --------------------------------------------------------------------------------

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
        assert turns > 1

    async def test_listing_survives_changes_under_way(self, store: StorageProtocol) -> None:
        keys = [f"{STAGE}/{i:032x}" for i in range(700)]
        await asyncio.gather(*(store.write(key, b"x") for key in keys))
        seen = []
        async for entry in store.list(STAGE):
            seen.append(entry.key)
            if len(seen) == 1:
                await asyncio.gather(*(store.delete(key) for key in keys[600:]))
        assert seen[:600] == keys[:600]

    # -- missing things and deletion ------------------------------------------------------------

    async def test_missing_things_say_so(self, store: StorageProtocol) -> None:
        await store.write("a/b", b"x")
        for key in ("nothing", "a/nothing", "a/b/below", "a"):
            assert not await store.exists(key)
            for call in (store.read, store.info, store.metadata):
                with pytest.raises(ObjectNotFoundError) as caught:
                    await call(key)
                assert caught.value.key == key

    async def test_deleting_what_is_not_there_is_no_error(self, store: StorageProtocol) -> None:
        await store.write("a/b", b"x")
        for key in ("nothing", "a/nothing", "a/b/below", "a"):
            await store.delete(key)
        assert await store.read("a/b") == b"x"

    async def test_deleted_object_is_gone_and_its_name_free(self, store: StorageProtocol) -> None:
        await store.write("a/b/c", b"first")
        await store.delete("a/b/c")
        assert not await store.exists("a/b/c")
        assert await keys_of(store, "") == []
        await store.write("a/b/c", b"second")
        assert await store.read("a/b/c") == b"second"

    async def test_record_and_objects_are_deleted_each_by_its_name(
        self, store: StorageProtocol
    ) -> None:
        await store.write(MESSAGE, b"litter", extension=".html")
        name = await store.write(MESSAGE, b"data", {"n": 1}, extension=".html")
        assert name is not None
        await store.delete(f"{MESSAGE}.html")
        assert (await store.metadata(MESSAGE))["output_key"] == name
        assert await store.read(name) == b"data"
        await store.delete(MESSAGE)
        await store.delete(name)
        with pytest.raises(ObjectNotFoundError):
            await store.metadata(MESSAGE)
        assert await keys_of(store, "") == []
        assert await keys_of(store, "", records=True) == []

    # -- hostile keys ---------------------------------------------------------------------------

    @pytest.mark.parametrize("key", HOSTILE_KEYS.values(), ids=HOSTILE_KEYS.keys())
    async def test_hostile_keys_are_refused_everywhere(
        self, store: StorageProtocol, key: str
    ) -> None:
        calls = [
            store.write(key, b"x"),
            store.write(key, None, {"n": 1}),
            store.read(key),
            store.exists(key),
            store.metadata(key),
            store.info(key),
            store.delete(key),
        ]
        for call in calls:
            with pytest.raises(KeyRefusedError) as caught:
                await call
            assert caught.value.message
        if key and not key.endswith("/"):
            with pytest.raises(KeyRefusedError):
                await keys_of(store, key)

    @pytest.mark.parametrize("extension", ["/x", "x/y", ".h/../../x", ".a\nb", ".\x00", "html"])
    async def test_hostile_extensions_are_refused(
        self, store: StorageProtocol, extension: str
    ) -> None:
        with pytest.raises(KeyRefusedError):
            await store.write("a/b", b"x", extension=extension)
        assert await keys_of(store, "") == []

    # -- the end --------------------------------------------------------------------------------

    async def test_close_finishes_what_is_under_way(self, store: StorageProtocol) -> None:
        tasks = [asyncio.create_task(store.write(f"a/{i}", b"x", {"i": i})) for i in range(20)]
        await asyncio.sleep(0)
        await store.close()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, str | FactflowError)

    async def test_closing_twice_is_no_error(self, store: StorageProtocol) -> None:
        await store.write("a", b"x")
        await store.close()
        await store.close()
