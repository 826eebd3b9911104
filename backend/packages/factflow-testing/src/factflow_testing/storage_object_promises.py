"""Promises about single objects: written, read, missing, deleted, and what keys they have."""

from __future__ import annotations

import asyncio
import hashlib
import time

import pytest

from factflow_protocols.errors import FactflowError, KeyRefusedError, ObjectNotFoundError
from factflow_protocols.storage import StorageProtocol
from factflow_testing.storage_rig import (
    FINE_KEYS,
    HOSTILE_KEYS,
    MESSAGE,
    STAGE,
    StorageFixtures,
    keys_of,
)


class ObjectPromises(StorageFixtures):
    """Bytes come back as they were given, under the key they were given."""

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
