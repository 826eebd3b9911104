"""Walking a bucket in the order of record keys, which is not quite that of its names.

`a-b.meta.json` comes before `a.meta.json`, and `a~2.html` long after it, while `a` comes before `a-b`.
Whatever belongs to a key begins with that key. So names of a key can only be out of place where another
name begins with the key too; then the store is asked for the rest of them, and memory stays constant. Message
ids all have one length, so among these that never happens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from factflow_infra.storage.layout import RECORD_SUFFIX, record_key
from factflow_infra.storage.s3.bucket import Bucket
from factflow_infra.storage.s3.object_names import is_ours, is_record, owner_of
from factflow_protocols.storage import ObjectInfo

LAST = "\U0010ffff"


@dataclass(slots=True)
class RecordGroup:
    """A key, its record if it has one, and the names of the objects that share it."""

    key: str
    record: ObjectInfo | None = None
    objects: list[str] = field(default_factory=list)

    def add(self, found: ObjectInfo) -> None:
        """Take what belongs to the key."""
        if is_record(found.key):
            self.record = found
        else:
            self.objects.append(found.key)


async def walk_records(bucket: Bucket, folder: str) -> AsyncIterator[RecordGroup]:
    """Yield the keys below a folder ('' is all) that have a record, in their order."""
    told: list[
        str
    ] = []  # keys yielded ahead of some of their names, each beginning with the one before
    group: RecordGroup | None = None
    before = f"{folder}/" if folder else ""
    async for found in _names(bucket, folder):
        name, owner = found.key, owner_of(found.key)
        while told and not name.startswith(told[-1]):
            told.pop()
        if group is not None and owner != group.key:
            if name.startswith(group.key):
                group = await _gather(bucket, group.key)
                told.append(group.key)
            if group.record is not None:
                yield group
            group = None
        if owner in told:
            continue
        for key in _keys_ahead(name, owner, before):
            if key not in told and await bucket.find(key + RECORD_SUFFIX) is not None:
                yield await _gather(bucket, key)
                told.append(key)
        if group is None:
            group = RecordGroup(owner)
        group.add(found)
        before = name
    if group is not None and group.record is not None:
        yield group


def _keys_ahead(name: str, owner: str, before: str) -> list[str]:
    """Return the keys whose record would come behind a name and which come before the name's own key,
    leaving out those that the name before it had in common."""
    shared = 0
    for one, other in zip(name, before, strict=False):
        if one != other:
            break
        shared += 1
    return [
        name[:end]
        for end in range(max(shared, 1), len(owner))
        if name[end] <= "." and name[end:] < RECORD_SUFFIX and _is_key(name[:end])
    ]


def _is_key(text: str) -> bool:
    return not text.endswith("/") and record_key(text) == text


async def _gather(bucket: Bucket, key: str) -> RecordGroup:
    """Return all that belongs to a key, wherever it stands."""
    group = RecordGroup(key)
    bare = await bucket.find(key)
    if bare is not None:
        group.add(bare)
    folder = key.rpartition("/")[0]
    for sign in (".", "~"):
        async for found in _names(bucket, folder, after=f"{key}{chr(ord(sign) - 1)}{LAST}"):
            if not found.key.startswith(key + sign):
                break
            if owner_of(found.key) == key:
                group.add(found)
    return group


async def _names(bucket: Bucket, folder: str, *, after: str = "") -> AsyncIterator[ObjectInfo]:
    async for chunk in bucket.listing(folder, after=after):
        for found in chunk:
            if is_ours(found.key):
                yield found
