"""Stored objects and their records as a tar archive, which unpacks into a store of plain files."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field

from factflow_protocols.errors import ObjectDamagedError, ObjectNotFoundError
from factflow_protocols.storage import ObjectInfo, StorageProtocol

SUMMARY = ".factflow-tmp-archive.json"
"""The last member: what the archive holds. A store of plain files takes no notice of such a name."""
RECORD_SUFFIX = ".meta.json"
CHUNK_BYTES = 256 * 1024
LEFT_OUT_TOLD = 1000


@dataclass(slots=True)
class ArchiveSummary:
    """What was put in. `left_out` names records that cannot be read, or the first of them."""

    objects: int = 0
    records: int = 0
    left_out_count: int = 0
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, key: str) -> None:
        """Count a record that cannot be read."""
        self.left_out_count += 1
        if len(self.left_out) < LEFT_OUT_TOLD:
            self.left_out.append(key)


async def archive(storage: StorageProtocol, prefix: str) -> AsyncIterator[bytes]:
    """Yield a tar archive of all below a prefix ('' is the whole store), piece by piece.

    Objects come first, then records, both in the order of their keys; what is deleted meanwhile is not in
    it. An archive without the summary at its end is not whole.
    """
    summary = ArchiveSummary()
    pieces: list[bytes] = []
    size = 0
    async for name, data, modified_at in _members(storage, prefix, summary):
        pieces += _member(name, data, modified_at)
        size += len(data)
        if size >= CHUNK_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    pieces += _member(SUMMARY, json.dumps(asdict(summary)).encode(), 0.0)
    pieces.append(bytes(2 * tarfile.BLOCKSIZE))
    yield b"".join(pieces)


async def _members(
    storage: StorageProtocol, prefix: str, summary: ArchiveSummary
) -> AsyncIterator[tuple[str, bytes, float]]:
    found: ObjectInfo
    async for found in storage.list(prefix):
        try:
            data = await storage.read(found.key)
        except ObjectNotFoundError:
            continue
        summary.objects += 1
        yield found.key, data, found.modified_at
    async for found in storage.list(prefix, records=True):
        try:
            record = await storage.metadata(found.key)
        except ObjectNotFoundError:
            continue
        except ObjectDamagedError:
            summary.leave_out(found.key)
            continue
        summary.records += 1
        data = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        yield found.key + RECORD_SUFFIX, data, found.modified_at


def _member(name: str, data: bytes, modified_at: float) -> list[bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mtime = int(modified_at)
    head = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return [head, data, bytes(-len(data) % tarfile.BLOCKSIZE)]
