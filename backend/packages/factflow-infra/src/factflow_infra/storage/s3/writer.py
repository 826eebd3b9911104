"""The writing half of an S3 store: an artefact, then its record, each created where there is none."""

from __future__ import annotations

import itertools

from factflow_foundation.crash_points import reach
from factflow_infra.storage.layout import RECORD_SUFFIX, numbered_name, record_key
from factflow_infra.storage.record_json import decode_record
from factflow_infra.storage.requests import with_output_key
from factflow_infra.storage.s3.bucket import Bucket
from factflow_protocols.errors import ObjectExistsError, ObjectNotFoundError, RecordDamagedError


class BucketWriter:
    """Writes to one bucket. Keys are checked ones."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def write_object(self, name: str, data: bytes) -> str:
        """Store an object and return its name. Raises `ObjectExistsError`."""
        if not await self._create(name, data):
            raise ObjectExistsError(name)
        return name

    async def write_outcome(
        self, key: str, extension: str, data: bytes | None, record: bytes
    ) -> str | None:
        """Store the data if there are any, then the record, which names them; return their name.

        Raises `ObjectExistsError` when the key has a record.
        """
        if data is None:
            await self._commit(key, record, None)
            return None
        name = await self._write_artefact(key, extension, data)
        if name != key + extension:
            record = with_output_key(record, name)
        await self._commit(key, record, name)
        return name

    async def _write_artefact(self, key: str, extension: str, data: bytes) -> str:
        """Put the data under the first free name, unless the key has a record."""
        for number in itertools.count(1):
            name = numbered_name(key, number, extension)
            if await self._create(name, data):
                return name
            if await self._standing(key):
                raise ObjectExistsError(key)
        raise AssertionError("unreachable")

    async def _create(self, name: str, data: bytes) -> bool:
        reach("storage.artefact.before")
        created = await self._bucket.create(name, data)
        if created:
            reach("storage.artefact.after")
        return created

    async def _commit(self, key: str, record: bytes, name: str | None) -> None:
        """Create the record, which is the commit. Where one stands, remove the object that lost."""
        place = record_key(key) + RECORD_SUFFIX
        reach("storage.record.before")
        while not await self._bucket.create(place, record):
            standing = await self._standing(key)
            if standing:
                if name is not None and not _may_name(standing, name):
                    await self._bucket.remove([name])
                raise ObjectExistsError(key)
            # It was removed meanwhile, or it is empty: files copied here may have met a loss of power.
            if standing == b"" and await self._bucket.fill(place, record):
                break
        reach("storage.record.after")

    async def _standing(self, key: str) -> bytes | None:
        try:
            return await self._bucket.read(record_key(key) + RECORD_SUFFIX)
        except ObjectNotFoundError:
            return None


def _may_name(record: bytes, name: str) -> bool:
    """Tell whether a record may be the one that names an object; if it cannot be read, nobody knows."""
    try:
        return decode_record(name, record).get("output_key") == name
    except RecordDamagedError:
        return True
