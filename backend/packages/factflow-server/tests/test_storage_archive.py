"""`GET /storage/archive`: everything an execution left, as plain files."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_infra.storage.factory import create_storage_provider
from factflow_protocols.storage import StorageProtocol
from factflow_server.storage_archive import SUMMARY, Selection, archive
from factflow_testing.faulty_storage import FaultyStorage

PREFIX = "executions/e1"
LONG = f"{PREFIX}/a/b/{'m' * 150}"
OBJECTS = {
    f"{PREFIX}/_init.json": b"{}",
    f"{LONG}.html": b"<p>" * 200_000,
    f"{PREFIX}/a/b/🦊": b"",
}


@pytest.fixture(params=["file", "packed"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StorageProtocol]:
    store = create_storage_provider(f"{request.param}://{tmp_path}/store")
    for key, data in OBJECTS.items():
        await store.write(key, data)
    await store.write(f"{PREFIX}/a/b/failed", None, {"outcome": "failed", "why": 'Grüße "x"'})
    await store.write("executions/e2/a/b/other", b"x", {"n": 1})
    yield store
    await store.close()


async def members(store: StorageProtocol, prefix: str) -> dict[str, bytes]:
    """What an archive unpacks to, by the standard library."""
    pieces = [piece async for piece in archive(store, Selection([prefix]))]
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        found = {}
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    return found


async def test_an_archive_holds_objects_and_records(store: StorageProtocol) -> None:
    found = await members(store, PREFIX)
    summary = json.loads(found.pop(SUMMARY))
    record = json.loads(found.pop(f"{PREFIX}/a/b/failed.meta.json"))
    assert found == OBJECTS
    assert record == {"outcome": "failed", "why": 'Grüße "x"'}
    counts = {"objects": 3, "records": 1, "left_out_count": 0, "missing_count": 0}
    assert summary == {**counts, "left_out": [], "missing": []}


class SlowStorage(FaultyStorage):
    """Answers reads once as many as there are objects have been asked for, as a bucket is slow for each."""

    def __init__(self, real: StorageProtocol) -> None:
        super().__init__(real)
        self._all = asyncio.Barrier(len(OBJECTS))

    async def read(self, key: str) -> bytes:
        await self._all.wait()
        return await super().read(key)


async def test_objects_are_read_together(store: StorageProtocol) -> None:
    async with asyncio.timeout(20):
        found = await members(SlowStorage(store), PREFIX)
    assert {name: found[name] for name in OBJECTS} == OBJECTS


async def test_an_archive_of_the_whole_store_and_of_nothing(store: StorageProtocol) -> None:
    assert len(await members(store, "")) == 3 + 1 + 2 + 1
    assert list(await members(store, "executions/nobody")) == [SUMMARY]


async def test_a_record_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    store = create_storage_provider(f"file://{tmp_path}/store")
    for name in ("fine", "rotten"):
        await store.write(f"{PREFIX}/a/b/{name}", name.encode(), {"n": 1})
    (tmp_path / "store" / PREFIX / "a/b/rotten.meta.json").write_text("{cut off")
    found = await members(store, PREFIX)
    summary = json.loads(found.pop(SUMMARY))
    assert sorted(found) == [
        f"{PREFIX}/a/b/fine",
        f"{PREFIX}/a/b/fine.meta.json",
        f"{PREFIX}/a/b/rotten",
    ]
    assert (summary["left_out"], summary["left_out_count"]) == ([f"{PREFIX}/a/b/rotten"], 1)
    await store.close()


async def test_artefacts_that_records_name_and_storage_lacks_are_told(
    store: StorageProtocol,
) -> None:
    record = {"execution_id": "e3", "children": [{"input_key": "executions/e3/a/b/child"}]}
    await store.write("executions/e3/a/b/m", b"x", record)
    await store.write("executions/e3/a/b/n", b"x", {"execution_id": "e3"}, extension=".txt")
    await store.delete_prefix("executions/e3", artefacts_only=True)
    summary = json.loads((await members(store, "executions/e3"))[SUMMARY])
    assert (summary["objects"], summary["records"], summary["missing_count"]) == (0, 2, 3)
    assert sorted(summary["missing"]) == [
        "executions/e3/a/b/child",
        "executions/e3/a/b/m",
        "executions/e3/a/b/n.txt",
    ]
