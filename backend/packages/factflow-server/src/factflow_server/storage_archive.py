"""Stored objects and their records as a tar archive, which unpacks into a store of plain files."""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from factflow_protocols.errors import ObjectDamagedError, ObjectNotFoundError
from factflow_protocols.storage import ObjectInfo, StorageProtocol

T = TypeVar("T")
SUMMARY = ".factflow-tmp-archive.json"
"""The last member: what the archive holds. A store of plain files takes no notice of such a name."""
RECORD_SUFFIX = ".meta.json"
CHUNK_BYTES = 256 * 1024
LEFT_OUT_TOLD = 1000
READ_AHEAD = 32
READ_AHEAD_BYTES = 4 * 1024 * 1024
"""How many objects are read before their turn, and of which size together; a larger one is read alone."""
ASKED_TOGETHER = 100
"""Names that storage is asked for together, whether it has them."""


@dataclass(slots=True)
class ArchiveSummary:
    """What was put in. `left_out` names records that cannot be read, `missing` artefacts that records name
    and storage lacks; both the first of them."""

    objects: int = 0
    records: int = 0
    left_out_count: int = 0
    left_out: list[str] = field(default_factory=list)
    missing_count: int = 0
    missing: list[str] = field(default_factory=list)

    def leave_out(self, key: str) -> None:
        """Count a record that cannot be read."""
        self.left_out_count += 1
        if len(self.left_out) < LEFT_OUT_TOLD:
            self.left_out.append(key)

    def miss(self, keys: Sequence[str]) -> None:
        """Count artefacts that are not there."""
        self.missing_count += len(keys)
        self.missing += keys[: LEFT_OUT_TOLD - len(self.missing)]


@dataclass(frozen=True, slots=True)
class Selection:
    """What goes into an archive: all below some prefixes ('' is the whole store), or of that, what lies at a
    `path` below them and what ends in one of the `endings`; with endings, or without `records`, objects
    alone."""

    prefixes: Sequence[str]
    path: str = ""
    endings: tuple[str, ...] = ()
    records: bool = True

    @property
    def has_records(self) -> bool:
        """Tell whether records are wanted."""
        return self.records and not self.endings

    def takes(self, prefix: str, key: str) -> bool:
        """Tell whether what was found below a prefix is wanted."""
        below = key.removeprefix(f"{prefix}/")
        return below.startswith(self.path) and (not self.endings or key.endswith(self.endings))


async def count_members(storage: StorageProtocol, selection: Selection) -> int:
    """Return how many objects and records are selected; each is looked at."""
    count = 0
    for prefix in selection.prefixes:
        async for item in storage.list(prefix):
            count += selection.takes(prefix, item.key)
        if selection.has_records:
            async for item in storage.list(prefix, records=True):
                count += selection.takes(prefix, item.key)
    return count


async def archive(
    storage: StorageProtocol, selection: Selection, summary: ArchiveSummary | None = None
) -> AsyncIterator[bytes]:
    """Yield a tar archive of what is selected, piece by piece, and fill the summary meanwhile.

    Of each prefix, objects come first, then records, both in the order of their keys; what is deleted
    meanwhile is not in it. An archive without the summary at its end is not whole.
    """
    summary = ArchiveSummary() if summary is None else summary
    pieces: list[bytes] = []
    size = 0
    for prefix in selection.prefixes:
        async for name, data, modified_at in _members(storage, selection, prefix, summary):
            pieces += _member(name, data, modified_at)
            size += len(data)
            if size >= CHUNK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
    pieces += _member(SUMMARY, json.dumps(asdict(summary)).encode(), 0.0)
    pieces.append(bytes(2 * tarfile.BLOCKSIZE))
    yield b"".join(pieces)


async def _members(
    storage: StorageProtocol, selection: Selection, prefix: str, summary: ArchiveSummary
) -> AsyncIterator[tuple[str, bytes, float]]:
    taken = _taken(storage.list(prefix), selection, prefix)
    async for found, reading in _read_ahead(taken, storage.read):
        try:
            data = await reading
        except ObjectNotFoundError:
            continue
        summary.objects += 1
        yield found.key, data, found.modified_at
    if not selection.has_records:
        return
    named: list[str] = []
    taken = _taken(storage.list(prefix, records=True), selection, prefix)
    async for found, asking in _read_ahead(taken, storage.metadata):
        try:
            record = await asking
        except ObjectNotFoundError:
            continue
        except ObjectDamagedError:
            summary.leave_out(found.key)
            continue
        summary.records += 1
        named += _artefacts(record)
        if len(named) >= ASKED_TOGETHER:
            summary.miss(await storage.missing(named))
            named = []
        data = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        yield found.key + RECORD_SUFFIX, data, found.modified_at
    summary.miss(await storage.missing(named))


async def _taken(
    found: AsyncIterator[ObjectInfo], selection: Selection, prefix: str
) -> AsyncIterator[ObjectInfo]:
    async for info in found:
        if selection.takes(prefix, info.key):
            yield info


async def _read_ahead(
    found: AsyncIterator[ObjectInfo], read: Callable[[str], Coroutine[Any, Any, T]]
) -> AsyncIterator[tuple[ObjectInfo, asyncio.Task[T]]]:
    """Yield what was found in its order with what reads it, some of which have begun: a bucket takes its time
    for each, and has time for many. Whoever is given one awaits it."""
    ahead: deque[tuple[ObjectInfo, asyncio.Task[T]]] = deque()
    size = 0
    try:
        async for info in found:
            ahead.append((info, asyncio.create_task(read(info.key))))
            size += info.size
            while len(ahead) > READ_AHEAD or size > READ_AHEAD_BYTES:
                size -= ahead[0][0].size
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()
    finally:
        tasks = [task for _, task in ahead]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _artefacts(record: dict[str, Any]) -> list[str]:
    """Return the names of the objects that a record says were stored."""
    children = record.get("children")
    named = [record.get("output_key"), *(record.get("children_keys") or ())]
    if isinstance(children, list):
        named += [child.get("input_key") for child in children if isinstance(child, dict)]
    own = f"{record.get('execution_id')}/"  # what was passed on may lie elsewhere
    return [key for key in named if isinstance(key, str) and own in key]


def _member(name: str, data: bytes, modified_at: float) -> list[bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mtime = int(modified_at)
    head = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return [head, data, bytes(-len(data) % tarfile.BLOCKSIZE)]
