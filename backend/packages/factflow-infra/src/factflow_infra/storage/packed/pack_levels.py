"""One level of a packed store at a time, and how much lies below a prefix; in short statements."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from factflow_foundation import keys
from factflow_infra.storage.packed.pack_reader import PackReader
from factflow_infra.storage.packed.pack_schema import BEHIND_ALL, bounds
from factflow_infra.storage.packed.places import OTHER, Pack, holds_other_keys, pack_of
from factflow_protocols.storage import ObjectInfo, StorageUsage

COUNTED_TOGETHER = 5_000
_NEXT = (
    "SELECT name, is_record, size, modified_at FROM entry"
    " WHERE name > ? AND name < ? ORDER BY name LIMIT 1"
)
_SUMS = (
    "SELECT count(*), total(is_record), total(size), max(name) FROM (SELECT name, is_record, size"
    " FROM entry WHERE name > ? AND name < ? ORDER BY name LIMIT ?)"
)


def level(reader: PackReader, prefix: str, *, after: str) -> Iterator[ObjectInfo | str]:
    """Yield the objects and prefixes right below a prefix ('' is the root), in order, behind `after`.

    From one name it goes to the next that does not begin the same way, through the index.
    """
    if prefix in {"", keys.ROOT}:
        names = [_shown(pack, prefix) for pack in reader.packs(prefix) if pack is not OTHER]
        executions = (name for name in dict.fromkeys(names) if name > after)
        others = _in_pack(reader, OTHER, prefix, after)
        last = None
        for item in heapq.merge(executions, others, key=_key):
            if _key(item) != last:
                yield item
            last = _key(item)
    else:
        pack = OTHER if holds_other_keys(prefix) else pack_of(f"{prefix}/_")
        yield from _in_pack(reader, pack, prefix, after)


def measure(reader: PackReader, prefix: str) -> Iterator[StorageUsage | None]:
    """Yield growing sums of what lies below a prefix, the whole at last."""
    objects = records = size = disk = 0
    for pack in reader.packs(prefix):
        if pack.prefix.startswith(f"{prefix}/") or not prefix:
            disk += reader.disk_bytes(pack)
        after, high = bounds(prefix[len(pack.prefix) :])
        counted = COUNTED_TOGETHER
        while counted == COUNTED_TOGETHER:
            rows = reader.ask(pack, _SUMS, (after, high, COUNTED_TOGETHER))
            counted, of_records, more, last = rows[0] if rows else (0, 0, 0, None)
            objects += counted - int(of_records)
            records += int(of_records)
            size += int(more)
            after = last or after
            yield StorageUsage(objects, records, size, disk)
    yield StorageUsage(objects, records, size, disk)


def _in_pack(reader: PackReader, pack: Pack, prefix: str, after: str) -> Iterator[ObjectInfo | str]:
    low, high = bounds(prefix[len(pack.prefix) :])
    within = f"{prefix}/" if prefix else ""
    cut = len(within) - len(pack.prefix)
    if after.startswith(within):
        # Behind a prefix comes what is greater than all that lies below it.
        low = max(low, after[len(pack.prefix) :] + (BEHIND_ALL if after.endswith("/") else ""))
    while rows := reader.ask(pack, _NEXT, (low, high)):
        name, is_record, size, modified_at = rows[0]
        head, slash, _ = name[cut:].partition("/")
        if slash:
            yield f"{within}{head}/"
            low = f"{within}{head}/{BEHIND_ALL}"[len(pack.prefix) :]
            continue
        if not is_record:
            yield ObjectInfo(pack.prefix + name, size, modified_at)
        low = name


def _shown(pack: Pack, prefix: str) -> str:
    """Return what a level shows of the pack of an execution."""
    return f"{keys.ROOT}/" if not prefix else pack.prefix


def _key(item: ObjectInfo | str) -> str:
    return item if isinstance(item, str) else item.key
