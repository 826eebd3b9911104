"""An S3 server in trouble is nobody's failure; one that is back is as if nothing had been."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from factflow_infra.storage.address import BucketAddress, StorageUriError
from factflow_infra.storage.s3 import bucket as requests
from factflow_infra.storage.s3 import connection
from factflow_infra.storage.s3.connection import ConditionalPutMissingError
from factflow_infra.storage.s3.provider import S3StorageProvider
from factflow_protocols.errors import ObjectExistsError, StorageUnavailableError
from factflow_protocols.storage import RecordInfo
from factflow_testing.s3_proxy import Asked, Fault, S3Proxy
from factflow_testing.s3_server import CREDENTIALS, S3Server
from factflow_testing.storage_contract import MESSAGE, STAGE, keys_of
from factflow_testing.storage_rig import FINE_KEYS


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.url) as proxy:
        yield proxy


@pytest.fixture
def store(s3_server: S3Server, proxy: S3Proxy) -> S3StorageProvider:
    address = BucketAddress(s3_server.make_bucket(), "p")
    return S3StorageProvider(address, s3_server.environment(proxy.url))


def opened(server: S3Server, bucket: str, url: str | None = None, **more: str) -> S3StorageProvider:
    return S3StorageProvider(BucketAddress(bucket, ""), server.environment(url) | more)


@pytest.mark.parametrize("ending", [".html", ".meta.json"])
@pytest.mark.parametrize(
    "fault", [Fault(asked=True), Fault(), Fault(status=503, code="SlowDown"), Fault(status=409)]
)
async def test_a_write_whose_answer_is_lost_is_one_write(
    store: S3StorageProvider, proxy: S3Proxy, ending: str, fault: Fault
) -> None:
    """Sent again it finds its own object, which is no other writer's."""
    met = proxy.break_once("PUT", ending, fault)
    name = await store.write(MESSAGE, b"x", {"n": 1}, extension=".html")
    assert len(met) == 1
    assert name == f"{MESSAGE}.html"
    assert await store.metadata(MESSAGE) == {"n": 1, "output_key": name}
    assert await keys_of(store, "") == [name]


async def test_another_writers_record_stands_when_an_answer_is_lost(
    store: S3StorageProvider, proxy: S3Proxy
) -> None:
    """A request that got no answer finds another record: it lost, and says so."""
    await store.write(MESSAGE, None, {"n": 1})
    proxy.break_once("PUT", ".meta.json", Fault())
    with pytest.raises(ObjectExistsError, match="already stored"):
        await store.write(MESSAGE, None, {"n": 2})
    assert await store.metadata(MESSAGE) == {"n": 1}


async def test_reads_and_listings_outlast_a_short_trouble(
    store: S3StorageProvider, proxy: S3Proxy
) -> None:
    await store.write(MESSAGE, b"x", {"n": 1})
    for method, ending, question in (
        ("GET", MESSAGE, store.read(MESSAGE)),
        ("HEAD", MESSAGE, store.exists(MESSAGE)),
        ("GET", "", keys_of(store, STAGE)),
    ):
        met = proxy.break_once(method, ending, Fault(status=500))
        assert await question
        assert met


@pytest.mark.parametrize(
    ("fault", "words", "hint"),
    [
        (Fault(), "broke the connection off", "network"),
        (Fault(status=503, code="SlowDown"), "answers 503", "log of that server"),
        (Fault(status=403, code="AccessDenied"), "denies access", "s3:ListBucket"),
        (Fault(status=403, code="InvalidAccessKeyId"), "not accept the credentials", "AWS_SECRET"),
        (Fault(status=403), "denies access", "s3:ListBucket"),
        (Fault(status=301, code="PermanentRedirect"), "another region", "AWS_REGION"),
        (Fault(status=404, code="NoSuchBucket"), "has no bucket", "--storage-uri"),
        (Fault(status=507, code="XMinioStorageFull"), "answers 507", "log"),
    ],
)
async def test_every_request_says_in_a_sentence_what_is_wrong(
    s3_server: S3Server,
    proxy: S3Proxy,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    words: str,
    hint: str,
) -> None:
    """With the URL, without a secret, and as the store's trouble; then all is as before."""
    monkeypatch.setattr(requests, "PAUSES", (0.01,))
    monkeypatch.setattr(connection, "READ_RETRIES", 0)
    store = opened(s3_server, s3_server.make_bucket(), proxy.url)
    await store.write(MESSAGE, b"x", {"n": 1}, extension=".txt")
    proxy.fault = lambda asked: fault
    for question in (
        store.write(f"{STAGE}/new", b"y", {"n": 2}),
        store.read(f"{MESSAGE}.txt"),
        store.metadata(MESSAGE),
        store.exists(f"{MESSAGE}.txt"),
        store.missing([f"{MESSAGE}.txt"]),
        keys_of(store, STAGE),
        store.page("", limit=5),
        store.level("", limit=5),
        store.delete(MESSAGE),
        store.delete_prefix(STAGE),
    ):
        with pytest.raises(StorageUnavailableError, match=words) as caught:
            await question
        assert hint in caught.value.hint
        assert proxy.url in caught.value.message
        assert len(caught.value.message) < 200
        assert "hush" not in caught.value.message + caught.value.hint
    proxy.mend()
    assert await store.write(f"{STAGE}/new", b"y", {"n": 2}) is not None
    assert await store.read(f"{MESSAGE}.txt") == b"x"


async def test_a_server_that_is_silent_is_given_up(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(s3_server, s3_server.make_bucket())
    monkeypatch.setattr(requests, "READ_SECONDS", 0.3)
    s3_server.pause()
    try:
        with pytest.raises(StorageUnavailableError, match="did not answer within"):
            await store.write(MESSAGE, b"x", {"n": 1}, extension=".txt")
    finally:
        s3_server.resume()
    name = await store.write(MESSAGE, b"x", {"n": 1}, extension=".txt")
    assert (await store.metadata(MESSAGE))["output_key"] == name


async def test_a_large_upload_has_the_time_its_size_takes(
    s3_server: S3Server, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer comes before the last byte has gone."""
    monkeypatch.setattr(connection, "READ_SECONDS", 0.2)
    monkeypatch.setattr(requests, "READ_SECONDS", 0.2)
    store = opened(s3_server, s3_server.make_bucket(), proxy.url)
    proxy.asked.clear()
    go_on = threading.Event()

    def hold_up(asked: Asked) -> None:
        go_on.wait(60)

    proxy.fault = hold_up
    upload = asyncio.create_task(store.write(MESSAGE, bytes(8 * requests.SLOWEST_BYTES_PER_SECOND)))
    done, _ = await asyncio.wait({upload}, timeout=1)
    go_on.set()
    assert not done
    assert await upload == MESSAGE
    assert dict(proxy.asked) == {"PUT": 1}


async def test_no_more_than_the_bound_is_asked_at_once(
    store: S3StorageProvider, proxy: S3Proxy
) -> None:
    most = 0

    def look(asked: Asked) -> None:
        nonlocal most
        most = max(most, proxy.under_way)

    proxy.fault = look
    await asyncio.gather(*(store.write(f"{STAGE}/{n}", b"x") for n in range(200)))
    assert 1 < most <= requests.REQUESTS_AT_ONCE


def test_a_server_that_ignores_the_condition_is_refused_at_once(
    s3_server: S3Server, proxy: S3Proxy
) -> None:
    proxy.unconditional = True
    for _ in range(2):
        with pytest.raises(ConditionalPutMissingError, match="If-None-Match") as caught:
            opened(s3_server, s3_server.make_bucket(), proxy.url)
    assert proxy.url in caught.value.message
    proxy.unconditional = False
    proxy.fault = lambda asked: Fault(status=501) if asked.method == "PUT" else None
    with pytest.raises(ConditionalPutMissingError):
        opened(s3_server, s3_server.make_bucket(), proxy.url)


async def test_opening_costs_two_requests_once_the_bucket_has_been_opened(
    s3_server: S3Server, proxy: S3Proxy
) -> None:
    bucket = s3_server.make_bucket()
    store = opened(s3_server, bucket)
    proxy.asked.clear()
    opened(s3_server, bucket, proxy.url)
    assert dict(proxy.asked) == {"GET": 1, "PUT": 1}
    assert await keys_of(store, "") == []
    assert list(await store.level("", limit=9)) == []


def test_opening_says_what_is_wrong(s3_server: S3Server) -> None:
    with pytest.raises(StorageUnavailableError, match="has no bucket 'nobody-has-it'"):
        opened(s3_server, "nobody-has-it")
    bucket = s3_server.make_bucket()
    for url, words in (
        ("http://127.0.0.1:1", "http://127.0.0.1:1 refuses connections"),
        (s3_server.url.replace("http:", "https:"), "does not speak TLS"),
    ):
        with pytest.raises(StorageUnavailableError, match=words) as caught:
            opened(s3_server, bucket, url)
        assert caught.value.hint


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9000", "ftp://host", "http://", "http://KEY:hush@host:1", "http://host:x"]
)
def test_an_endpoint_that_is_none_is_refused_without_a_secret(url: str) -> None:
    with pytest.raises(StorageUriError, match="AWS_ENDPOINT_URL_S3") as caught:
        S3StorageProvider(
            BucketAddress("bucket", ""),
            {**CREDENTIALS, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": url},
        )
    assert "hush" not in caught.value.message + caught.value.hint


async def test_requests_are_signed_as_the_server_expects_and_wrong_keys_are_told() -> None:
    """Whatever is in the keys, and in where a page begins."""
    with S3Server() as server:
        bucket = server.make_bucket()
        keys = server.demand_signatures()
        store = opened(server, bucket, **keys)
        names = [f"signed/{key}" for key in [*FINE_KEYS.values(), "m~2.html", "m~3.html", "m~x"]]
        for name in names:
            await store.write(name, b"x")
            assert await store.read(name) == b"x"
            assert await store.exists(name)
        names.sort()
        assert await keys_of(store, "") == names
        await store.write("signed/m", None, {"n": 1})
        beside = ("signed/m~2.html", "signed/m~3.html")
        assert [item async for item in store.list_records("signed")] == [
            RecordInfo("signed/m", beside)
        ]
        for before, name in pairwise(names):
            assert [info.key for info in await store.page("", after=before, limit=1)] == [name]
        await store.delete_prefix("signed")
        assert await keys_of(store, "") == await keys_of(store, "", records=True) == []
        for wrong, code in (
            ({"AWS_SECRET_ACCESS_KEY": "hush"}, "SignatureDoesNotMatch"),
            ({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "InvalidAccessKeyId"),
        ):
            with pytest.raises(StorageUnavailableError, match=code) as caught:
                opened(server, bucket, **(keys | wrong))
            assert "hush" not in caught.value.message + caught.value.hint
            assert "AWS_SECRET_ACCESS_KEY" in caught.value.hint


def test_missing_credentials_are_told(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AWS_METADATA_ENDPOINT", "http://127.0.0.1:1"
    )  # where a role would be asked for
    with pytest.raises(StorageUnavailableError, match="no credentials"):
        S3StorageProvider(
            BucketAddress(s3_server.make_bucket(), ""), {"AWS_ENDPOINT_URL": s3_server.url}
        )
