"""Reads what an execution announced and how it ended, from storage alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import PlannedMessage
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.payloads import JSON
from factflow_engine.publisher import stored_init_message
from factflow_foundation import keys
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.errors import ObjectDamagedError, ObjectNotFoundError
from factflow_replay.replay.plan import PlanSource


@dataclass(frozen=True, slots=True)
class Announced:
    """A message that was sent into a route, and the lineage row it came from."""

    message: PlannedMessage
    parent_lineage_id: str | None


class SourceRecords:
    """One source execution's records, by stage."""

    def __init__(self, execution_id: str, graph: PipelineGraph, store: OutcomeStore) -> None:
        self.execution_id = execution_id
        self._graph = graph
        self._store = store

    async def of_stage(self, route: str, stage: str) -> AsyncIterator[OutcomeRecord]:
        """Yield a stage's records in the order of their message ids. Raises `ObjectDamagedError`."""
        prefix = keys.stage_prefix(self.execution_id, route, stage)
        async for item in self._store.storage.list(prefix, records=True):
            record = await self._store.find(item.key)
            if record is None:
                raise ObjectDamagedError(f"the record of {item.key} vanished while it was read")
            yield record

    async def children(self, record: OutcomeRecord) -> AsyncIterator[Announced]:
        """Yield the messages a record announces, as they would be published again."""
        async for part in self._store.children(record):
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
                    name=child.name,
                )
                yield Announced(message, record.lineage_id)

    async def announced_at(self, route: str, stage: str) -> AsyncIterator[Announced]:
        """Yield every message that was to enter `route` at `stage`, or reached it within its chain."""
        index = self._graph.stage_index(route, stage)
        for producer in self._producers(route, index):
            async for record in self.of_stage(*producer):
                async for child in self.children(record):
                    if (child.message.route, child.message.entry_stage) == (route, stage):
                        yield child
                if (
                    producer[0] == route
                    and record.outcome == "stored"
                    and not record.children_count
                ):
                    yield Announced(continuing(record, stage), record.lineage_id)
        async for message in self._starts():
            if (message.route, message.entry_stage) == (route, stage):
                yield Announced(message, message.replayed_from)

    def _producers(self, route: str, index: int) -> list[tuple[str, str]]:
        """Return the stages whose outcomes may send messages into `route` at stage number `index`."""
        if index > 0:
            return [(route, self._graph.stages(route)[index - 1].stage_name)]
        queue = self._graph.route(route).inbound.queue
        found: list[tuple[str, str]] = []
        for other in self._graph.config.routes:
            stages = [adapter.stage_name for adapter in self._graph.stages(other)]
            if self._graph.config.error_handling_for(other).dead_letter_queue == queue:
                found.extend((other, stage) for stage in stages)
            elif self._graph.outbound(other) == queue:
                found.append((other, stages[-1]))
        return found

    async def _starts(self) -> AsyncIterator[PlannedMessage]:
        """Yield what the execution began with: its plan, or its init message."""
        plan = PlanSource(self._store.storage, self.execution_id)
        if await plan.exists():
            async for item in plan.items(0):
                yield item
            return
        try:
            message = await stored_init_message(self._store.storage, self._graph, self.execution_id)
        except ObjectNotFoundError:
            return
        if message is not None:
            yield message


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
    )
