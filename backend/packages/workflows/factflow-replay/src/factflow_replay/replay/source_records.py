"""Reads what one execution announced and how its messages ended, from storage alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import PlannedMessage
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.payloads import JSON
from factflow_engine.publisher import stored_init_message
from factflow_foundation import ids, keys
from factflow_foundation.keys import stage_key
from factflow_foundation.records import Child, OutcomeRecord
from factflow_protocols.errors import ObjectDamagedError, ObjectNotFoundError
from factflow_replay.replay.errors import ArtefactsMissingError
from factflow_replay.replay.plan import PlanSource

READS_AT_ONCE = 64
IDS_HELD = 100_000
"""Ids of one stage that are held in memory, some 130 bytes each; of more, each is looked up."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A message that was sent into a route, and the lineage row it came from."""

    message: PlannedMessage
    parent_lineage_id: str | None


class SourceRecords:
    """One execution's records, by stage. `graph` is of its snapshot."""

    def __init__(self, execution_id: str, graph: PipelineGraph, store: OutcomeStore) -> None:
        self.execution_id = execution_id
        self._graph = graph
        self._store = store

    async def of_stage(self, route: str, stage: str) -> AsyncIterator[OutcomeRecord]:
        """Yield a stage's records in the order of their message ids. Raises `RecordDamagedError`."""
        window: list[str] = []
        async for key in self._keys(route, stage):
            window.append(key)
            if len(window) == READS_AT_ONCE:
                for record in await self._read(window):
                    yield record
                window = []
        for record in await self._read(window):
            yield record

    async def count(self, route: str, stage: str) -> int:
        """Return how many messages have a record at a stage."""
        count = 0
        async for _ in self._keys(route, stage):
            count += 1
        return count

    async def message_ids(self, route: str, stage: str) -> set[str] | None:
        """Return the ids of the messages that have a record at a stage; None when there are more than
        `IDS_HELD`."""
        found: set[str] = set()
        async for key in self._keys(route, stage):
            if len(found) == IDS_HELD:
                return None
            found.add(key.rpartition("/")[2])
        return found

    async def find(self, route: str, stage: str, origin_id: str) -> OutcomeRecord | None:
        """Return how a stage ended for the message of an origin; None when it did not."""
        message = ids.message_id(self.execution_id, origin_id)
        key = stage_key(self.execution_id, route, stage, message)
        return await self._store.find_listed(key)

    async def children(self, record: OutcomeRecord) -> AsyncIterator[Announced]:
        """Yield the messages a record announces, as they would be published again.

        Raises `ArtefactsMissingError` when a list of them is not stored.
        """
        async for part in self._parts(record):
            for child in part:
                message = PlannedMessage(
                    origin_id=child.origin_id,
                    route=child.route,
                    entry_stage=child.entry_stage,
                    input_key=child.input_key,
                    input_hash=child.input_hash,
                    content_type=child.content_type,
                    metadata={**record.metadata, **child.metadata},
                    replayed_from=record.lineage_id,
                    source_execution=record.execution_id,
                    source_message=child.message_id,
                    name=child.name,
                )
                yield Announced(message, record.lineage_id)

    async def _parts(self, record: OutcomeRecord) -> AsyncIterator[list[Child]]:
        try:
            async for part in self._store.children(record):
                yield part
        except ObjectNotFoundError as error:
            raise ArtefactsMissingError([error.key]) from error

    async def starts(self) -> AsyncIterator[PlannedMessage]:
        """Yield what the execution began with: its plan, or its init message."""
        plan = PlanSource(self._store.storage, self.execution_id)
        if await plan.exists():
            async for item in plan.items(0):
                yield self._as_own(item)
            return
        try:
            message = await stored_init_message(self._store.storage, self._graph, self.execution_id)
        except ObjectNotFoundError:
            return
        if message is not None:
            yield self._as_own(message)

    def _as_own(self, message: PlannedMessage) -> PlannedMessage:
        return msgspec.structs.replace(
            message,
            source_execution=self.execution_id,
            source_message=ids.message_id(self.execution_id, message.origin_id),
        )

    async def _keys(self, route: str, stage: str) -> AsyncIterator[str]:
        prefix = keys.stage_prefix(self.execution_id, route, stage)
        last = None
        async for item in self._store.storage.list(prefix, records=True):
            key = keys.stood_in_for(item.key)  # which is listed right before its stand-in
            if key != last:
                yield key
            last = key

    async def _read(self, window: list[str]) -> list[OutcomeRecord]:
        """Read some records together: a remote store answers many as fast as one."""
        found = await asyncio.gather(*(self._store.find_listed(key) for key in window))
        for key, record in zip(window, found, strict=True):
            if record is None:
                raise ObjectDamagedError(f"the record of {key} vanished while it was read")
        return [record for record in found if record is not None]


def continuing(record: OutcomeRecord, stage: str) -> PlannedMessage:
    """Return the message that goes on from a stored artefact to `stage` of the same route."""
    return PlannedMessage(
        origin_id=record.origin_id,
        route=record.route,
        entry_stage=stage,
        input_key=record.output_key or "",
        input_hash=record.output_hash or "",
        content_type=record.content_type or JSON,
        metadata=record.metadata,
        replayed_from=record.lineage_id,
        source_execution=record.execution_id,
        source_message=record.message_id,
    )


def from_input(record: OutcomeRecord, stage: str) -> PlannedMessage:
    """Return the message that enters `stage` with the input this record's stage had."""
    return PlannedMessage(
        origin_id=record.origin_id,
        route=record.route,
        entry_stage=stage,
        input_key=record.input_key or "",
        input_hash=record.input_hash or "",
        content_type=record.input_content_type or JSON,
        metadata=record.metadata,
        replayed_from=record.lineage_id,
        source_execution=record.execution_id,
        source_message=record.message_id,
    )
