"""Object storage in few files: a pack for each execution, and one for all else."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from factflow_foundation.keys import check_key
from factflow_infra.storage.data_lock import DataFolderLock
from factflow_infra.storage.layout import check_write, is_object_name, record_key
from factflow_infra.storage.paced import paced
from factflow_infra.storage.packed import pack_levels
from factflow_infra.storage.packed.pack_reader import PackReader
from factflow_infra.storage.packed.pack_writer import PackWriter
from factflow_infra.storage.packed_marker import PACKED, mark_packed
from factflow_infra.storage.record_json import decode_record, encode_record
from factflow_infra.storage.requests import (
    DeletePrefixRequest,
    DeleteRequest,
    StoreRequest,
    WriteRequest,
)
from factflow_infra.storage.writer_process import WriterProcess
from factflow_infra.storage.writer_thread import WriterThread
from factflow_protocols.errors import (
    KeyRefusedError,
    ObjectNotFoundError,
    RecordDamagedError,
    StorageUnavailableError,
)
from factflow_protocols.storage import ObjectInfo, RecordInfo, StorageUsage

LARGEST_OBJECT = 900_000_000
"""Bytes; a little less than SQLite takes in one row."""
INLINE_READ_LIMIT = 64 * 1024
"""Bytes read on the event loop itself: measured, that takes 10 µs for 4 KiB, a hop to a thread 40 µs."""
SLOW_READ_SECONDS = 0.005
SLOW_DISK_SECONDS = 1.0
"""After a read that held the loop up so long, the next ones go to a thread for so long."""

P = ParamSpec("P")
T = TypeVar("T")


class PackedStorageProvider:
    """`StorageProtocol` over SQLite files below `root`, which is created when it is missing.

    What is asked for together is one transaction for each execution, and an artefact and its record are
    never apart. `durability` "os": what was written survives the death of this process, and a loss of
    power once the system has written it out. "fsync": it survives both on return. `places.py` tells which
    file holds what. One instance serves one event loop, and a root has one at a time. `writer` says
    who writes the files; a process keeps the descriptors in `keep_open` as long as it is at work.

    Raises `StorageUnavailableError` when the folder cannot be made or written, `StorageLayoutError` when
    it holds something else, `DataFolderLockedError` when another process has it open.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        durability: Literal["os", "fsync"] = "os",
        writer: Literal["thread", "process"] = "thread",
        keep_open: Sequence[int] = (),
    ) -> None:
        self.root = Path(root).absolute()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            mark_packed(self.root)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StorageUnavailableError(
                f"cannot use {self.root} as a storage folder: {reason}",
                hint="name a folder this user may write",
            ) from error
        # Of a store outside of the data folder another server might not know.
        self._lock = DataFolderLock(self.root)
        self._lock.acquire()
        keep_open = (*keep_open, self._lock.fileno())
        durable = durability == "fsync"
        self._reader = PackReader(self.root)
        self._patient_reader = PackReader(self.root)
        """The one that is used in threads."""
        self._listing_reader = PackReader(self.root)
        """Not one of them, as a large object that is read would hold up a listing."""
        self._slow_until = 0.0
        packs = PackWriter(self.root, durable=durable)
        thread: WriterThread[StoreRequest, str | None] = WriterThread(
            packs.perform_all, name="factflow-storage-writer", finish=packs.close
        )
        self._writer: WriterThread[StoreRequest, str | None] | WriterProcess = thread
        if writer == "process":
            self._writer = WriterProcess(
                self.root, durable=durable, kind=PACKED, keep_open=keep_open, substitute=thread
            )

    def start_soon(self) -> None:
        """Have the writer at hand before the first write; without an event loop it waits for that."""
        if isinstance(self._writer, WriterProcess):
            self._writer.start_soon()

    async def write(
        self,
        key: str,
        data: bytes | None,
        metadata: Mapping[str, Any] | None = None,
        *,
        extension: str = "",
    ) -> str | None:
        """Store an object, its record, or both, as the protocol says.

        Either everything is stored or nothing. Raises `StorageError` when the metadata is no JSON, and
        `KeyRefusedError` for more than `LARGEST_OBJECT` bytes.
        """
        check_write(key, extension)
        if data is None and metadata is None:
            raise ValueError("a write needs data, metadata, or both")
        record = None
        if metadata is not None:
            record = encode_record(key, metadata, None if data is None else key + extension)
        if len(data or b"") + len(record or b"") > LARGEST_OBJECT:
            raise KeyRefusedError(
                f"{key!r} is too large for packed storage, which takes {LARGEST_OBJECT:,} bytes at most",
                hint="keep executions with such objects in plain files (file://)",
            )
        return await self._writer.submit(WriteRequest(key, extension, data, record))

    async def read(self, key: str) -> bytes:
        """Return an object's bytes, by its full name. Raises `ObjectNotFoundError`."""
        if not is_object_name(check_key(key)):
            raise ObjectNotFoundError(key)
        if self._may_read_here():
            with_size = self._timed(self._reader.read, key, limit=INLINE_READ_LIMIT)
            if with_size is None:
                raise ObjectNotFoundError(key)
            if with_size[1] is not None:
                return with_size[1]
        found = await asyncio.to_thread(self._patient_reader.read, key, limit=LARGEST_OBJECT)
        if found is None:
            raise ObjectNotFoundError(key)
        return found[1] or b""

    async def exists(self, key: str) -> bool:
        """Tell whether an object of this full name is stored."""
        return is_object_name(check_key(key)) and await self._find(key) is not None

    async def list(
        self, prefix: str, *, records: bool = False, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """Yield objects below `prefix` in the order of their keys; '' is the whole store.

        With `records`, the keys that have one, with the size and time of the record. The order costs
        nothing, and is kept without `ordered` too.
        """
        del ordered
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        async for entry in paced(self._listing_reader.walk(folder, records=records)):
            yield entry

    async def list_records(self, prefix: str, *, alone: bool = False) -> AsyncIterator[RecordInfo]:
        """Yield the keys below `prefix` that have a record, in their order, with the objects beside them;
        with `alone` only those that have none beside them."""
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        async for entry in paced(self._listing_reader.walk_records(folder, alone=alone)):
            yield entry

    async def page(self, prefix: str, *, after: str = "", limit: int) -> Sequence[ObjectInfo]:
        """Return the first objects below `prefix` whose key is greater than `after`, in order."""
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        found = self._listing_reader.walk(folder, records=False, after=after)
        return [item async for item in paced(itertools.islice(found, limit))]

    async def level(
        self, prefix: str, *, after: str = "", limit: int
    ) -> Sequence[ObjectInfo | str]:
        """Return the first objects and prefixes right below `prefix`, in order, behind `after`."""
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        items = pack_levels.level(self._listing_reader, folder, after=after)
        found: AsyncIterator[ObjectInfo | str] = paced(itertools.islice(items, limit))
        return [item async for item in found]

    async def usage(self, prefix: str) -> AsyncIterator[StorageUsage]:
        """Yield growing sums of what lies below `prefix`, the whole at last."""
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        async for sums in paced(pack_levels.measure(self._listing_reader, folder)):
            yield sums

    async def metadata(self, key: str) -> dict[str, Any]:
        """Return the record of a key or object name.

        Raises `ObjectNotFoundError` without one and `RecordDamagedError` when it cannot be read.
        """
        if not is_object_name(check_key(key)):
            raise ObjectNotFoundError(key)
        owner = record_key(key)
        if self._may_read_here():
            data = self._timed(self._reader.record, owner)
        else:
            data = await asyncio.to_thread(self._patient_reader.record, owner)
        if data is None:
            raise ObjectNotFoundError(key)
        return decode_record(owner, data)

    async def metadata_of(
        self, keys: Sequence[str]
    ) -> Sequence[dict[str, Any] | RecordDamagedError | None]:
        """Return the records of some keys, in their order: None where there is none, the error of one that
        cannot be read."""
        owners = [record_key(check_key(key)) for key in keys]
        found = await self._many(PackReader.records, owners)
        return [_record_or_error(owner, found.get(owner)) for owner in owners]

    async def missing(self, keys: Sequence[str]) -> Sequence[str]:
        """Return those of some full names that no object is stored under."""
        standing = await self._many(
            PackReader.standing, [key for key in keys if is_object_name(check_key(key))]
        )
        return [key for key in keys if key not in standing]

    async def info(self, key: str) -> ObjectInfo:
        """Return size and time of an object, by its full name. Raises `ObjectNotFoundError`."""
        found = await self._find(key) if is_object_name(check_key(key)) else None
        if found is None:
            raise ObjectNotFoundError(key)
        return found

    async def delete(self, key: str) -> None:
        """Remove an object by its full name, or a record by its key; absent ones are no error.

        Where both have the same name (an object without extension) both go.
        """
        if is_object_name(check_key(key)):
            await self._writer.submit(DeleteRequest(key))

    async def delete_prefix(
        self,
        prefix: str,
        *,
        artefacts_only: bool = False,
        tell: Callable[[int], None] | None = None,
    ) -> None:
        """Remove what is below a prefix. A whole execution's pack goes at once, and its space with it; of
        others some entries at a time. Called again after an end on the way, it goes on."""
        folder = check_key(prefix.removesuffix("/"))
        request = DeletePrefixRequest(folder, artefacts_only)
        try:
            while (removed := await self._writer.submit(request)) is not None:
                if tell is not None:
                    tell(int(removed))
        finally:
            # A file that is being read keeps its space.
            self._reader.forget(folder)
            self._listing_reader.forget(folder)
            await asyncio.to_thread(self._patient_reader.forget, folder)

    async def close(self) -> None:
        """Finish the writes under way and end the writer; repeated calls do nothing more."""
        self._reader.close()
        self._listing_reader.close()
        await asyncio.to_thread(self._patient_reader.close)
        await self._writer.close()
        self._lock.release()

    async def _find(self, key: str) -> ObjectInfo | None:
        if self._may_read_here():
            return self._timed(self._reader.find, key)
        return await asyncio.to_thread(self._patient_reader.find, key)

    async def _many(self, read: Callable[[PackReader, Sequence[str]], T], keys: Sequence[str]) -> T:
        if self._may_read_here():
            return self._timed(read, self._reader, keys)
        return await asyncio.to_thread(read, self._patient_reader, keys)

    def _may_read_here(self) -> bool:
        """Tell whether the disk has been quick lately, so that a read will not hold up the loop."""
        return time.monotonic() >= self._slow_until

    def _timed(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        begun = time.monotonic()
        try:
            return read(*args, **kwargs)
        finally:
            now = time.monotonic()
            if now - begun > SLOW_READ_SECONDS:
                self._slow_until = now + SLOW_DISK_SECONDS


def _record_or_error(key: str, data: bytes | None) -> dict[str, Any] | RecordDamagedError | None:
    if data is None:
        return None
    try:
        return decode_record(key, data)
    except RecordDamagedError as error:
        return error
