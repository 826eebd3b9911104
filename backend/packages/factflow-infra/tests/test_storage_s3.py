"""What S3 storage does where buckets differ from folders."""

from __future__ import annotations

import os
from pathlib import Path

import httpx2
import pytest

from factflow_infra.storage.address import BucketAddress, StorageUriError, parse_storage_uri
from factflow_infra.storage.factory import create_storage_provider
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.s3 import provider
from factflow_infra.storage.s3.provider import S3StorageProvider
from factflow_protocols.errors import KeyRefusedError, ObjectExistsError, ObjectNotFoundError
from factflow_protocols.storage import RecordInfo
from factflow_testing.s3_proxy import S3Proxy
from factflow_testing.s3_server import S3Server
from factflow_testing.storage_contract import MESSAGE, STAGE, keys_of

AWKWARD = [
    "a",
    "a b/c",
    "a!",
    "a-",
    "a-b",
    "a-b/c/d",
    "a.b/c",
    "a.b/c-d",
    "a/b",
    "a/b-c",
    "a/b/c",
    "a0",
    "a0-x",
    "a~x",
    "ab",
    "abc/d",
    "abc",
    ".h",
    ".h-i",
    "é-",
    "é",
]


def store_in(server: S3Server, prefix: str = "", bucket: str | None = None) -> S3StorageProvider:
    address = BucketAddress(bucket or server.make_bucket(), prefix)
    return S3StorageProvider(address, server.environment())


def copy_tree(folder: Path, server: S3Server, place: str) -> None:
    """As `aws s3 cp --recursive` does."""
    for path in folder.rglob("*"):
        if path.is_file():
            url = f"{server.url}/{place}/{path.relative_to(folder).as_posix()}"
            assert httpx2.put(url, content=path.read_bytes(), trust_env=False).is_success


async def test_record_listings_are_in_order_and_whole_whatever_keys_begin_with(
    s3_server: S3Server,
) -> None:
    """In a bucket `a-b.meta.json` comes before `a.meta.json`, and `a~2` after `ab`."""
    store = store_in(s3_server, "p")
    expected = []
    for number, key in enumerate(AWKWARD):
        names = {await store.write(key, b"left behind", extension=".txt")}
        names.add(await store.write(key, b"x", {"n": 1}, extension=".txt" if number % 3 else ""))
        expected.append(RecordInfo(key, tuple(sorted(name for name in names if name))))
    expected.sort()
    assert [item async for item in store.list_records("")] == expected
    assert await keys_of(store, "", records=True) == sorted(AWKWARD)
    assert [item async for item in store.list_records("a")] == [
        item for item in expected if item.key.startswith("a/")
    ]
    assert [item async for item in store.list_records("", alone=True)] == []


async def test_a_listing_of_a_stage_asks_for_nothing_but_the_listing(s3_server: S3Server) -> None:
    with S3Proxy(s3_server.url) as proxy:
        address = BucketAddress(s3_server.make_bucket(), "a-b/c.d")
        store = S3StorageProvider(address, s3_server.environment(proxy.url))
        for number in range(20):
            await store.write(f"{STAGE}/{number:032x}", b"x", {"n": number}, extension=".html")
            await store.write(f"{STAGE}/{number + 50:032x}", None, {"n": number})
        proxy.asked.clear()
        assert len([item async for item in store.list_records(STAGE)]) == 40
        assert dict(proxy.asked) == {"GET": 1}


async def test_what_a_stage_costs_in_requests(s3_server: S3Server) -> None:
    """Two for an artefact with its record, one for an outcome without, one for a child."""
    with S3Proxy(s3_server.url) as proxy:
        address = BucketAddress(s3_server.make_bucket(), "")
        store = S3StorageProvider(address, s3_server.environment(proxy.url))
        for key, data, record, costs in (
            ("stored", b"x", {"n": 1}, 2),
            ("failed", None, {"n": 1}, 1),
            ("child", b"x", None, 1),
        ):
            proxy.asked.clear()
            await store.write(f"{STAGE}/{key}", data, record, extension=".txt" if data else "")
            assert dict(proxy.asked) == {"PUT": costs}


async def test_a_copied_tree_of_plain_files_is_a_store(s3_server: S3Server, tmp_path: Path) -> None:
    """And an empty record, which a loss of power leaves, counts as not written there too."""
    files = FilesystemStorageProvider(tmp_path)
    await files.write(MESSAGE, b"<p>", {"n": 1}, extension=".html")
    await files.write(f"{STAGE}/failed", None, {"n": 2})
    await files.write(f"{STAGE}/lost", b"lost", extension=".txt")
    await files.close()
    (tmp_path / STAGE / "lost.meta.json").touch()
    (tmp_path / STAGE / ".factflow-tmp-x").touch()
    bucket = s3_server.make_bucket()
    copy_tree(tmp_path, s3_server, f"{bucket}/data")
    store = store_in(s3_server, "data", bucket)
    assert await store.read(f"{MESSAGE}.html") == b"<p>"
    assert await store.metadata(MESSAGE) == {"n": 1, "output_key": f"{MESSAGE}.html"}
    assert await keys_of(store, "") == [f"{MESSAGE}.html", f"{STAGE}/lost.txt"]
    with pytest.raises(ObjectNotFoundError):
        await store.metadata(f"{STAGE}/lost")
    name = await store.write(f"{STAGE}/lost", b"again", {"n": 3}, extension=".txt")
    assert name == f"{STAGE}/lost~2.txt"
    assert await store.metadata(f"{STAGE}/lost") == {"n": 3, "output_key": name}
    with pytest.raises(ObjectExistsError):
        await store.write(f"{STAGE}/lost", None, {"n": 4})


async def test_what_lost_against_a_record_is_removed(s3_server: S3Server) -> None:
    store = store_in(s3_server)
    name = await store.write(MESSAGE, b"first", {"n": 1}, extension=".txt")
    with pytest.raises(ObjectExistsError):
        await store.write(MESSAGE, b"<p>", {"n": 2}, extension=".html")
    assert await keys_of(store, "") == [name]


async def test_a_large_object_comes_back(s3_server: S3Server) -> None:
    store = store_in(s3_server)
    data = os.urandom(1 << 20) * 24
    await store.write(MESSAGE, data, {"n": 1})
    assert await store.read(MESSAGE) == data


async def test_sizes_and_names_that_s3_refuses_are_the_objects_fault(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(s3_server, "/".join(["p" * 100] * 8))
    with pytest.raises(KeyRefusedError, match="1024") as caught:
        await store.write("/".join(["k" * 100] * 3), b"x")
    assert "--storage-uri" in caught.value.hint
    monkeypatch.setattr(provider, "LARGEST_OBJECT", 1000)
    with pytest.raises(KeyRefusedError, match="too large"):
        await store.write("a/b", b"x" * 1001, {"n": 1})
    assert await keys_of(store, "", records=True) == []


async def test_two_prefixes_of_a_bucket_are_strangers(s3_server: S3Server) -> None:
    bucket = s3_server.make_bucket()
    one, other = (store_in(s3_server, prefix, bucket) for prefix in ("a", "a-b"))
    await one.write("x/y", b"1", {"n": 1})
    await other.write("x/y", b"2", {"n": 2})
    assert await one.read("x/y") == b"1"
    await one.delete_prefix("x")
    assert await other.read("x/y") == b"2"
    assert await keys_of(one, "", records=True) == []


def test_uri_names_bucket_and_prefix(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for uri, bucket, prefix in (
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://my.bucket-1/a/b%2Bc/", "my.bucket-1", "a/b+c"),
    ):
        assert parse_storage_uri(uri) == BucketAddress(bucket, prefix)
    assert BucketAddress("bucket", "").uri == "s3://bucket"
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    store = create_storage_provider(f"s3://{s3_server.make_bucket()}/x")
    assert isinstance(store, S3StorageProvider)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3:bucket", "two slashes"),
        ("s3://", "not the name of an S3 bucket"),
        ("s3://b_/x", "not the name of an S3 bucket"),
        ("s3://bucket/a//b", "prefix"),
        ("s3://bucket/a%20b", "spaces"),
        ("s3://bucket/~me", "tildes"),
        ("s3://fast--use1-az4--x-s3/a", "directory bucket"),
        ("s3://bucket/../b", "prefix"),
        ("s3://bucket?region=x", "neither"),
        ("s3://KEY:hush@bucket/x", "no credentials"),
    ],
)
def test_other_s3_uris_are_refused_without_a_secret(uri: str, reason: str) -> None:
    with pytest.raises(StorageUriError, match=reason) as caught:
        create_storage_provider(uri)
    assert caught.value.hint
    assert "hush" not in str(caught.value) + caught.value.hint
