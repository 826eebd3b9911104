"""Requests to one bucket: a bounded number at a time, their errors told in the words of the protocol."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from factflow_infra.storage.address import SIGNED_IN_TWO_WAYS
from factflow_infra.storage.s3.connection import PATIENCE, READ_SECONDS, Connection
from factflow_infra.storage.s3.trouble import code_of, is_passing, is_unanswered, silence, status_of
from factflow_protocols.errors import ObjectNotFoundError, StorageError
from factflow_protocols.storage import ObjectInfo

if TYPE_CHECKING:
    from obstore import ObjectMeta  # a type that is not there at run time

T = TypeVar("T")
REQUESTS_AT_ONCE = 64
SLOWEST_BYTES_PER_SECOND = 256 * 1024
"""An upload that is slower than this is given up; a small one after `READ_SECONDS`."""
PAUSES = (0.1, 0.3, 0.9)
"""Seconds before a write is sent again."""
NAMES_AT_ONCE = 1000
"""As many as one answer lists, and as one request deletes."""
_LIBRARY = (BaseError, OSError)
"""What the library raises; FileNotFoundError is an answer of 404."""


class Bucket:
    """One bucket below one prefix. Names are relative to it and are not looked at."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reads = connection.reads
        self._writes = connection.writes
        self._slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def create(self, name: str, data: bytes) -> bool:
        """Store an object under a name that is free; False, and nothing happened, when it is not.

        An attempt that got no answer may have stored it. So where the next one finds the name taken, the
        bytes tell whether it was this. Raises `StorageUnavailableError` and `KeyRefusedError`.
        """
        unanswered = False
        pauses = iter(PAUSES)
        until = time.monotonic() + PATIENCE.total_seconds()
        seconds = READ_SECONDS + len(data) / SLOWEST_BYTES_PER_SECOND
        while True:
            try:
                async with self._slots, asyncio.timeout(seconds):
                    await obstore.put_async(self._writes, name, data, mode="create")
            except TimeoutError as error:
                raise silence(self._connection.endpoint, seconds) from error
            except _LIBRARY as error:
                if isinstance(error, AlreadyExistsError) and status_of(error) != 409:
                    return unanswered and await self._holds(name, data)
                pause = next(pauses, None) if is_passing(error) else None
                if pause is None or time.monotonic() > until:
                    raise self._connection.trouble(error, name) from error
                unanswered = unanswered or is_unanswered(error)
                await asyncio.sleep(pause)
            else:
                return True

    async def _holds(self, name: str, data: bytes) -> bool:
        try:
            return await self.read(name) == data
        except ObjectNotFoundError:
            return False

    async def fill(self, name: str, data: bytes) -> bool:
        """Give an object without a byte its bytes; False when it has some."""
        try:
            async with self._slots:
                found = await obstore.head_async(self._reads, name)
                if found["size"]:
                    return False
                await obstore.put_async(self._reads, name, data, mode={"e_tag": found["e_tag"]})
        except (FileNotFoundError, PreconditionError):
            return False
        except _LIBRARY as error:
            raise self._connection.trouble(error, name) from error
        return True

    async def read(self, name: str) -> bytes:
        """Return an object's bytes. Raises `ObjectNotFoundError` and `StorageUnavailableError`."""

        async def get() -> bytes:
            found = await obstore.get_async(self._reads, name)
            return bytes(await found.bytes_async())

        return await self._ask(get, name)

    async def find(self, name: str) -> ObjectInfo | None:
        """Return size and time of an object, None when there is none."""

        async def head() -> ObjectInfo:
            return _info(await obstore.head_async(self._reads, name))

        async def get() -> ObjectInfo:
            return _info((await obstore.get_async(self._reads, name)).meta)

        try:
            return await self._ask(head, name)
        except StorageError as error:
            if isinstance(error.__cause__, Exception) and is_passing(error.__cause__):
                raise
        try:
            # An answer to HEAD has no text: it does not tell a missing object from a missing bucket.
            return await self._ask(get, name)
        except ObjectNotFoundError:
            return None

    async def remove(self, names: Sequence[str]) -> None:
        """Remove up to `NAMES_AT_ONCE` objects; absent ones are no error."""
        if not names:
            return

        async def delete() -> None:
            await obstore.delete_async(self._reads, list(names))

        await self._ask(delete, names[0])

    async def listing(self, folder: str, *, after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """Yield the objects below a folder ('' is all), those behind a name if one is given, in the order
        of their names, some at a time."""
        # Cut short where servers would not agree on the signature; what that brings back is left out.
        start = re.split(SIGNED_IN_TWO_WAYS, after, maxsplit=1)[0]
        try:
            chunks = obstore.list(
                self._reads, folder or None, offset=start or None, chunk_size=NAMES_AT_ONCE
            )
            async for chunk in chunks:
                infos = [_info(found) for found in chunk]
                yield infos if start == after else [info for info in infos if info.key > after]
        except _LIBRARY as error:
            raise self._connection.trouble(error, folder) from error

    async def level(self, folder: str) -> tuple[list[ObjectInfo], list[str]]:
        """Return all objects right below a folder, and all folders, without slashes at their ends."""

        async def ask() -> tuple[list[ObjectInfo], list[str]]:
            found = await obstore.list_with_delimiter_async(self._reads, folder or None)
            return [_info(one) for one in found["objects"]], list(found["common_prefixes"])

        return await self._ask(ask, folder)

    async def _ask(self, question: Callable[[], Awaitable[T]], name: str) -> T:
        try:
            async with self._slots:
                return await question()
        except FileNotFoundError as error:
            if code_of(error) == "NoSuchBucket":
                raise self._connection.trouble(error, name) from error
            raise ObjectNotFoundError(name) from error
        except _LIBRARY as error:
            raise self._connection.trouble(error, name) from error


def _info(found: ObjectMeta) -> ObjectInfo:
    return ObjectInfo(found["path"], found["size"], found["last_modified"].timestamp())
