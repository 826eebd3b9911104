"""Promises about writers of one key: the first one stands, the others are told."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from factflow_protocols.errors import ObjectExistsError
from factflow_protocols.storage import StorageProtocol
from factflow_testing.storage_rig import MESSAGE, STAGE, StorageFixtures, keys_of


class FirstStandsPromises(StorageFixtures):
    """Nothing is ever replaced, whoever writes at the same time or stops halfway."""

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
