"""Object storage in a folder of the local file system."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from factflow_foundation.keys import check_key
from factflow_infra.storage.disk_reader import DiskReader
from factflow_infra.storage.disk_writer import DiskWriter
from factflow_infra.storage.folders import Folders
from factflow_infra.storage.layout import RECORD_SUFFIX, check_write, is_object_name, record_key
from factflow_infra.storage.paced import paced
from factflow_infra.storage.packed_marker import refuse_packed
from factflow_infra.storage.record_json import decode_record, encode_record
from factflow_infra.storage.requests import (
    DeletePrefixRequest,
    DeleteRequest,
    StoreRequest,
    WriteRequest,
)
from factflow_infra.storage.staged_file import KINDS, StagedFile, choose_staging
from factflow_infra.storage.writer_process import WriterProcess
from factflow_infra.storage.writer_thread import WriterThread
from factflow_protocols.errors import (
    ObjectNotFoundError,
    RecordDamagedError,
    StorageError,
    StorageUnavailableError,
)
from factflow_protocols.storage import ObjectInfo, RecordInfo, StorageUsage

_Writer = WriterThread[StoreRequest, str | None] | WriterProcess
Durability = Literal["os", "fsync"]
COUNTING_REST = 0.004
"""Seconds that others have after each slice of a count, which is in no hurry."""


class FilesystemStorageProvider:
    """`StorageProtocol` over files below `root`, which is created when it is missing.

    `durability` "os": what was written survives the death of this process, and a loss of power once
    the system has written it out (seconds). "fsync": it survives both on return. `layout.py` tells
    which file holds what; symbolic links below the root are no objects and no folders. Several
    processes may use one root; one instance serves one event loop. `staging` is for tests. `writer` says
    who makes the files; a process keeps the descriptors in `keep_open` as long as it is at work.

    Raises `StorageUnavailableError` when the folder cannot be made or written, or lacks hard links,
    `StorageLayoutError` when it holds packed storage.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        durability: Durability = "os",
        staging: type[StagedFile] | None = None,
        writer: Literal["thread", "process"] = "thread",
        keep_open: Sequence[int] = (),
    ) -> None:
        self.root = Path(root).absolute()
        refuse_packed(self.root)
        durable = durability == "fsync"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            staging = staging or choose_staging(str(self.root))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StorageUnavailableError(
                f"cannot use {self.root} as a storage folder: {reason}",
                hint="name a folder this user may write, on a file system with hard links",
            ) from error
        folders = Folders(str(self.root), durable=durable)
        self._reader = DiskReader(self.root, folders)
        disk = DiskWriter(self.root, folders, staging, durable=durable)
        thread: WriterThread[StoreRequest, str | None] = WriterThread(
            disk.perform_all, name="factflow-storage-writer"
        )
        self._writer: _Writer = thread
        if writer == "process":
            self._writer = WriterProcess(
                self.root,
                durable=durable,
                kind=next(name for name, known in KINDS.items() if known is staging),
                keep_open=keep_open,
                substitute=thread,
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

        A cancelled call has either stored everything or nothing; a begun write is finished. Raises
        `StorageError` when the metadata is no JSON.
        """
        check_write(key, extension)
        if data is None and metadata is None:
            raise ValueError("a write needs data, metadata, or both")
        record = None
        if metadata is not None:
            record = encode_record(key, metadata, None if data is None else key + extension)
        return await self._writer.submit(WriteRequest(key, extension, data, record))

    async def read(self, key: str) -> bytes:
        """Return an object's bytes, by its full name. Raises `ObjectNotFoundError`."""
        if not is_object_name(check_key(key)):
            raise ObjectNotFoundError(key)
        return await self._read_file(key)

    async def exists(self, key: str) -> bool:
        """Tell whether an object of this full name is stored."""
        return is_object_name(check_key(key)) and self._reader.find(key) is not None

    async def list(
        self, prefix: str, *, records: bool = False, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """Yield objects below `prefix` in the order of their keys; '' is the whole store.

        With `records`, the keys that have one, with the size and time of the record. Without `ordered`, in
        the order that the system has them in.
        """
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        async for entry in paced(self._reader.walk(folder, records=records, ordered=ordered)):
            yield entry

    async def list_records(self, prefix: str, *, alone: bool = False) -> AsyncIterator[RecordInfo]:
        """Yield the keys below `prefix` that have a record, in their order, with the objects beside them;
        with `alone` only those that have none beside them. Empty records are listed too."""
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        async for entry in paced(self._reader.walk_records(folder, alone=alone)):
            yield entry

    async def page(self, prefix: str, *, after: str = "", limit: int) -> Sequence[ObjectInfo]:
        """Return the first objects below `prefix` whose key is greater than `after`, in order."""
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        return [item async for item in paced(self._reader.page(folder, after=after, limit=limit))]

    async def level(
        self, prefix: str, *, after: str = "", limit: int
    ) -> Sequence[ObjectInfo | str]:
        """Return the first objects and prefixes right below `prefix`, in order, behind `after`."""
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        found: AsyncIterator[ObjectInfo | str]
        found = paced(self._reader.level(folder, after=after, limit=limit))
        return [item async for item in found]

    async def usage(self, prefix: str) -> AsyncIterator[StorageUsage]:
        """Yield growing sums of what lies below `prefix`, the whole at last; each file is looked at."""
        folder = check_key(prefix.removesuffix("/")) if prefix else ""
        sums = None
        async for sums in paced(self._reader.measure(folder), rest=COUNTING_REST):
            yield sums
        if sums is None:
            yield StorageUsage()

    async def metadata(self, key: str) -> dict[str, Any]:
        """Return the record of a key or object name.

        Raises `ObjectNotFoundError` without one (an empty file is none, see `empty_record`) and
        `ObjectDamagedError` when it cannot be read.
        """
        if not is_object_name(check_key(key)):
            raise ObjectNotFoundError(key)
        owner = record_key(key)
        try:
            data = await self._read_file(owner + RECORD_SUFFIX)
        except ObjectNotFoundError as error:
            raise ObjectNotFoundError(key) from error
        if not data:
            raise ObjectNotFoundError(key)
        return decode_record(owner, data)

    async def metadata_of(
        self, keys: Sequence[str]
    ) -> Sequence[dict[str, Any] | RecordDamagedError | None]:
        """Return the records of some keys, in their order: None where there is none (an empty file is
        none), the error of one that cannot be read."""
        names = [record_key(check_key(key)) + RECORD_SUFFIX for key in keys]
        read: dict[str, bytes | StorageError] = dict(self._reader.read_some(names))
        left = [name for name in names if name not in read]
        if left:
            read |= zip(left, await asyncio.to_thread(self._reader.read_each, left), strict=True)
        return [_record_or_error(name, read[name]) for name in names]

    async def missing(self, keys: Sequence[str]) -> Sequence[str]:
        """Return those of some full names that no object is stored under."""
        return [
            key
            for key in keys
            if not is_object_name(check_key(key)) or self._reader.find(key) is None
        ]

    async def info(self, key: str) -> ObjectInfo:
        """Return size and time of an object, by its full name. Raises `ObjectNotFoundError`."""
        found = self._reader.find(key) if is_object_name(check_key(key)) else None
        if found is None:
            raise ObjectNotFoundError(key)
        return ObjectInfo(key, found.st_size, found.st_mtime)

    async def delete(self, key: str) -> None:
        """Remove an object by its full name, or a record by its key; absent ones are no error.

        Where both have the same name (an object without extension) both go, the record first. Folders
        left empty are removed.
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
        """Remove what is below a prefix, some files at a time; called again after an end, it goes on."""
        request = DeletePrefixRequest(check_key(prefix.removesuffix("/")), artefacts_only)
        while (removed := await self._writer.submit(request)) is not None:
            if tell is not None:
                tell(int(removed))

    async def close(self) -> None:
        """Finish the writes under way and end the writer; repeated calls do nothing more."""
        await self._writer.close()

    async def _read_file(self, name: str) -> bytes:
        data = self._reader.read(name, may_wait=False)
        if data is None:
            data = await asyncio.to_thread(self._reader.read, name, may_wait=True)
        return data or b""


def _record_or_error(
    name: str, read: bytes | StorageError
) -> dict[str, Any] | RecordDamagedError | None:
    if not isinstance(read, bytes):
        if isinstance(read, ObjectNotFoundError):
            return None
        raise read
    if not read:
        return None
    try:
        return decode_record(name.removesuffix(RECORD_SUFFIX), read)
    except RecordDamagedError as error:
        return error
