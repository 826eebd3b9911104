"""Reads what one execution announced and how its messages ended, from storage alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from factflow_engine.config.graph import PipelineGraph, reachable
from factflow_engine.execution_spec import PlannedMessage
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.payloads import JSON
from factflow_engine.publisher import stored_init_message
from factflow_engine.record_scan import listed, scan
from factflow_foundation import ids, keys
from factflow_foundation.keys import stage_key
from factflow_foundation.records import Child, OutcomeRecord
from factflow_protocols.errors import ObjectNotFoundError, RecordDamagedError
from factflow_replay.replay.errors import ArtefactsMissingError
from factflow_replay.replay.plan import PlanSource
from factflow_replay.replay.route_resolver import followers
from factflow_replay.replay.shown_objects import ShownObjects

IDS_HELD = 100_000
"""Ids of one stage that are held in memory, some 130 bytes each; of more, each is looked up."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A message that was sent into a route, and the lineage row it came from."""

    message: PlannedMessage
    parent_lineage_id: str | None


class SourceRecords:
    """One execution's records, by stage. `graph` is of its snapshot.

    `recovered` tells that it was taken up after its process had ended; only then can a message have failed
    where a try before that left an artefact. `shown` is told of the artefacts that listings showed.
    """

    def __init__(
        self,
        execution_id: str,
        graph: PipelineGraph,
        store: OutcomeStore,
        *,
        recovered: bool = True,
        shown: ShownObjects | None = None,
    ) -> None:
        self.execution_id = execution_id
        self._graph = graph
        self._store = store
        self._recovered = recovered
        self._shown = shown
        self._counts: dict[tuple[str, str], int] = {}
        self.failures: dict[tuple[str, str], int] = {}
        """How many messages failed, at the stages of which all failures were read."""

    async def of_stage(self, route: str, stage: str) -> AsyncIterator[OutcomeRecord]:
        """Yield a stage's records in the order of their message ids. Raises `RecordDamagedError`."""
        count = failures = 0
        async for found in scan(self._store, self._prefix(route, stage)):
            record = _readable(found.record)
            count += 1
            failures += record.outcome == "failed"
            if self._shown is not None:
                self._shown.note(found.objects)
            yield record
        self._counts[route, stage] = count
        self.failures[route, stage] = failures

    async def failed_at(self, route: str, stage: str) -> AsyncIterator[OutcomeRecord]:
        """Yield the records of a stage's failures, in the order of their message ids.

        What failed left no artefact. So where nothing else could have put one there, records with an object
        beside them are not read. Raises `RecordDamagedError`.
        """
        count = 0
        alone = self.failures_have_no_object(route)
        async for found in scan(self._store, self._prefix(route, stage), alone=alone):
            record = _readable(found.record)
            if record.outcome == "failed":
                count += 1
                yield record
        self.failures[route, stage] = count

    def failures_have_no_object(self, route: str) -> bool:
        """Tell whether an object beside a record says that its message did not fail.

        It does not in an execution that was recovered, nor on a cycle, where a message finds beside its
        record the artefact that it was sent with.
        """
        sends_to = followers(self._graph)
        if self._recovered or route not in sends_to:
            return False
        return route not in reachable(sends_to[route], sends_to)

    async def count(self, route: str, stage: str) -> int:
        """Return how many messages have a record at a stage."""
        known = self._counts.get((route, stage))
        if known is not None:
            return known
        return len([None async for _ in self._written(route, stage)])

    async def first(self, route: str, stage: str) -> OutcomeRecord | None:
        """Return one of a stage's records, whichever is found first; None when it has none."""
        async for key in self._written(route, stage):
            return await self._store.find_listed(key)
        return None

    async def message_ids(self, route: str, stage: str) -> set[str] | None:
        """Return the ids of the messages that have a record at a stage; None when there are more than
        `IDS_HELD`."""
        found: set[str] = set()
        async for item in listed(self._store, self._prefix(route, stage)):
            if len(found) == IDS_HELD:
                return None
            found.add(item.key.rpartition("/")[2])
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

    def _prefix(self, route: str, stage: str) -> str:
        return keys.stage_prefix(self.execution_id, route, stage)

    async def _written(self, route: str, stage: str) -> AsyncIterator[str]:
        """Yield the keys of a stage's records in any order, without those that hold nothing."""
        stand_ins: list[str] = []
        prefix = self._prefix(route, stage)
        async for item in self._store.storage.list(prefix, records=True, ordered=False):
            key = keys.stood_in_for(item.key)
            if key == item.key:
                yield key
            else:
                stand_ins.append(key)
        for key, stored in zip(
            stand_ins, await self._store.storage.metadata_of(stand_ins), strict=True
        ):
            if stored is None:  # what it stands in for was deleted since
                yield key


def _readable(record: OutcomeRecord | RecordDamagedError) -> OutcomeRecord:
    if isinstance(record, RecordDamagedError):
        raise record
    return record


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
