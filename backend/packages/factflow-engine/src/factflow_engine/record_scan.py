"""Reads all outcome records below a prefix, many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from factflow_engine.outcome_store import OutcomeStore
from factflow_foundation import keys, records
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.errors import RecordDamagedError
from factflow_protocols.storage import RecordInfo

READS_AT_ONCE = 64
"""Records read together: as few as hold an event loop for a millisecond."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """A key that has a record, what it says (or why that cannot be read), and the objects beside it."""

    key: str
    record: OutcomeRecord | RecordDamagedError
    objects: tuple[str, ...]


async def listed(
    store: OutcomeStore, prefix: str, *, alone: bool = False
) -> AsyncIterator[RecordInfo]:
    """Yield the keys that have a record, in their order; with `alone` those without an object beside them.

    A failure that stands in for a record which cannot be read is listed under that record's key.
    """
    last = None
    async for item in store.storage.list_records(prefix, alone=alone):
        key = keys.stood_in_for(item.key)  # which is listed right before its stand-in
        if key != last:
            yield item if key == item.key else RecordInfo(key, item.objects)
        last = key


async def scan(
    store: OutcomeStore,
    prefix: str,
    *,
    alone: bool = False,
    wanted: Callable[[RecordInfo], bool] | None = None,
) -> AsyncIterator[Scanned]:
    """Yield the records below a prefix, in the order of their keys, those that are `wanted`.

    `alone` leaves out, unread, those with an object beside them. One that cannot be read comes as the
    failure of the message that met it, or as an error when none did. One that holds nothing is left out.
    """
    window: list[RecordInfo] = []
    async for item in listed(store, prefix, alone=alone):
        if wanted is not None and not wanted(item):
            continue
        window.append(item)
        if len(window) == READS_AT_ONCE:
            for found in await _read(store, window):
                yield found
            window = []
            await asyncio.sleep(0)
    for found in await _read(store, window):
        yield found


async def _read(store: OutcomeStore, window: list[RecordInfo]) -> list[Scanned]:
    if not window:
        return []
    found: list[Scanned] = []
    stored = await store.storage.metadata_of([item.key for item in window])
    for item, fields in zip(window, stored, strict=True):
        record: OutcomeRecord | RecordDamagedError | None
        try:
            if isinstance(fields, dict):
                record = records.from_metadata(fields, item.key)
            else:
                record = await store.find_listed(item.key)
        except RecordDamagedError:
            record = await _stand_in(store, item.key)
        if record is not None:
            found.append(Scanned(item.key, record, item.objects))
    return found


async def _stand_in(store: OutcomeStore, key: str) -> OutcomeRecord | RecordDamagedError | None:
    try:
        return await store.find_listed(key)
    except RecordDamagedError as error:
        return error
