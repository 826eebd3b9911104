"""Object storage in a bucket of S3, under the names that plain files have."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from factflow_foundation.crash_points import reach
from factflow_foundation.keys import check_key, tells_announced
from factflow_infra.storage.address import BucketAddress
from factflow_infra.storage.layout import (
    RECORD_SUFFIX,
    check_write,
    is_object_name,
    record_key,
)
from factflow_infra.storage.record_json import decode_record, encode_record
from factflow_infra.storage.s3.bucket import Bucket
from factflow_infra.storage.s3.connection import check_bucket, connect
from factflow_infra.storage.s3.level import first_of_level
from factflow_infra.storage.s3.object_names import check_length, is_ours, is_record
from factflow_infra.storage.s3.record_walk import walk_records
from factflow_infra.storage.s3.writer import BucketWriter
from factflow_protocols.errors import (
    KeyRefusedError,
    ObjectNotFoundError,
    RecordDamagedError,
)
from factflow_protocols.storage import ObjectInfo, RecordInfo, StorageUsage

T = TypeVar("T")
LARGEST_OBJECT = 5 * 1024**3
"""Bytes; what S3 takes in one request. An upload in parts could not be made on condition."""


class S3StorageProvider:
    """`StorageProtocol` over a bucket that is there and is listed, read and written by the credentials.

    What it stores is durable on return, as the server understands it. Opening waits for the bucket's
    answer. Endpoint, region and credentials come from the environment. One instance serves one event
    loop; several may use one prefix, in one process or many.

    Raises `StorageUnavailableError`, `StorageUriError` and `ConditionalPutMissingError`.
    """

    def __init__(self, address: BucketAddress, environment: Mapping[str, str] = os.environ) -> None:
        connection = connect(address, environment)
        check_bucket(connection)
        self._prefix = address.prefix
        self._bucket = Bucket(connection)
        self._writer = BucketWriter(self._bucket)

    async def write(
        self,
        key: str,
        data: bytes | None,
        metadata: Mapping[str, Any] | None = None,
        *,
        extension: str = "",
    ) -> str | None:
        """Store an object, its record, or both, as the protocol says: two requests for both.

        A call that was cancelled may leave an object that no record names. Raises `StorageError` when
        the metadata is no JSON, and `KeyRefusedError` for more than `LARGEST_OBJECT` bytes.
        """
        check_write(key, extension)
        check_length(self._prefix, key, extension)
        if data is None and metadata is None:
            raise ValueError("a write needs data, metadata, or both")
        if data is not None and len(data) > LARGEST_OBJECT:
            raise KeyRefusedError(
                f"{key!r} is too large for S3, which takes {LARGEST_OBJECT:,} bytes at once",
                hint="have the adapter emit it in parts",
            )
        if metadata is None:
            return await self._writer.write_object(key + extension, data or b"")
        record = encode_record(key, metadata, None if data is None else key + extension)
        return await self._writer.write_outcome(key, extension, data, record)

    async def read(self, key: str) -> bytes:
        """Return an object's bytes, by its full name. Raises `ObjectNotFoundError`."""
        if not is_object_name(check_key(key)):
            raise ObjectNotFoundError(key)
        return await self._bucket.read(key)

    async def exists(self, key: str) -> bool:
        """Tell whether an object of this full name is stored."""
        return is_object_name(check_key(key)) and await self._bucket.find(key) is not None

    async def list(
        self, prefix: str, *, records: bool = False, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """Yield objects below `prefix` in the order of their keys; '' is the whole store.

        With `records`, the keys that have one, with the size and time of the record. Without `ordered`,
        in the order of their names in the bucket.
        """
        folder = _folder(prefix)
        if records and ordered:
            async for group in walk_records(self._bucket, folder):
                if group.record is not None:
                    yield _as_key(group.record)
            return
        async for chunk in self._bucket.listing(folder):
            for found in chunk:
                if records and is_record(found.key):
                    yield _as_key(found)
                elif not records and is_object_name(found.key):
                    yield found

    async def list_records(self, prefix: str, *, alone: bool = False) -> AsyncIterator[RecordInfo]:
        """Yield the keys below `prefix` that have a record, in their order, with the objects beside them;
        with `alone` only those that have none beside them. Empty records are listed too."""
        async for group in walk_records(self._bucket, _folder(prefix)):
            if not (alone and group.objects):
                yield RecordInfo(group.key, tuple(sorted(group.objects)))

    async def page(self, prefix: str, *, after: str = "", limit: int) -> Sequence[ObjectInfo]:
        """Return the first objects below `prefix` whose key is greater than `after`, in order."""
        page: list[ObjectInfo] = []
        async for chunk in self._bucket.listing(_folder(prefix), after=after):
            page += [found for found in chunk if is_object_name(found.key)]
            if len(page) >= limit:
                break
        return page[:limit]

    async def level(
        self, prefix: str, *, after: str = "", limit: int
    ) -> Sequence[ObjectInfo | str]:
        """Return the first objects and prefixes right below `prefix`, in order, behind `after`. Of a level
        that has prefixes all of them are asked for, a thousand at a time."""
        return await first_of_level(self._bucket, _folder(prefix), after=after, limit=limit)

    async def usage(self, prefix: str) -> AsyncIterator[StorageUsage]:
        """Yield growing sums of what lies below `prefix`, the whole at last. What objects take of the
        server's disks is not known; it is told as their bytes, which is what is paid for."""
        objects = records = size = 0
        async for chunk in self._bucket.listing(_folder(prefix)):
            for found in chunk:
                if is_record(found.key):
                    records += 1
                elif is_object_name(found.key):
                    objects += 1
                else:
                    continue
                size += found.size
            yield StorageUsage(objects, records, size, size)
        if not (objects or records):
            yield StorageUsage()

    async def metadata(self, key: str) -> dict[str, Any]:
        """Return the record of a key or object name.

        Raises `ObjectNotFoundError` without one (an empty object is none) and `RecordDamagedError` when
        it cannot be read.
        """
        if not is_object_name(check_key(key)):
            raise ObjectNotFoundError(key)
        owner = record_key(key)
        try:
            record = await self._bucket.read(owner + RECORD_SUFFIX)
        except ObjectNotFoundError as error:
            raise ObjectNotFoundError(key) from error
        if not record:
            raise ObjectNotFoundError(key)
        return decode_record(owner, record)

    async def metadata_of(
        self, keys: Sequence[str]
    ) -> Sequence[dict[str, Any] | RecordDamagedError | None]:
        """Return the records of some keys, in their order: None where there is none, the error of one that
        cannot be read. Costs a request for each."""

        async def one(key: str) -> dict[str, Any] | RecordDamagedError | None:
            try:
                return await self.metadata(key)
            except ObjectNotFoundError:
                return None
            except RecordDamagedError as error:
                return error

        return await _all(one(check_key(key)) for key in keys)

    async def missing(self, keys: Sequence[str]) -> Sequence[str]:
        """Return those of some full names that no object is stored under. Costs a request for each."""
        there = await _all(self.exists(check_key(key)) for key in keys)
        return [key for key, found in zip(keys, there, strict=True) if not found]

    async def info(self, key: str) -> ObjectInfo:
        """Return size and time of an object, by its full name. Raises `ObjectNotFoundError`."""
        found = await self._bucket.find(key) if is_object_name(check_key(key)) else None
        if found is None:
            raise ObjectNotFoundError(key)
        return found

    async def delete(self, key: str) -> None:
        """Remove an object by its full name, or a record by its key; absent ones are no error.

        Where both have the same name (an object without extension) both go, the record first.
        """
        if is_object_name(check_key(key)):
            if record_key(key) == key:
                await self._bucket.remove([key + RECORD_SUFFIX])
            await self._bucket.remove([key])

    async def delete_prefix(
        self,
        prefix: str,
        *,
        artefacts_only: bool = False,
        tell: Callable[[int], None] | None = None,
    ) -> None:
        """Remove what is below a prefix, the records first, a thousand at a time; called again after an
        end, it goes on."""
        folder = check_key(prefix.removesuffix("/"))

        def goes(name: str, *, records: bool) -> bool:
            if is_record(name):
                return records
            return not records and is_ours(name) and not (artefacts_only and tells_announced(name))

        for records in (False,) if artefacts_only else (True, False):
            async for chunk in self._bucket.listing(folder):
                names = [found.key for found in chunk if goes(found.key, records=records)]
                reach("storage.delete.before")
                await self._bucket.remove(names)
                reach("storage.delete.after")
                if names and tell is not None:
                    tell(len(names))

    async def close(self) -> None:
        """Return at once: what is under way is finished by those who wait for it."""


def _folder(prefix: str) -> str:
    return check_key(prefix.removesuffix("/")) if prefix else ""


def _as_key(record: ObjectInfo) -> ObjectInfo:
    return ObjectInfo(record.key.removesuffix(RECORD_SUFFIX), record.size, record.modified_at)


async def _all(questions: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the answers in order; on the first error the other questions are given up."""
    tasks = [asyncio.ensure_future(question) for question in questions]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        raise
