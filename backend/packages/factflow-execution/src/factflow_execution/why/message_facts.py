"""Gathers what is known of one message: its rows or records, its place in a queue, its artefact."""

from __future__ import annotations

from dataclasses import replace

from factflow_engine import envelope as envelopes
from factflow_execution.why.facts import ExecutionFacts, MessageFacts
from factflow_execution.why.gathering import FactGatherer
from factflow_foundation.keys import stage_key
from factflow_lineage.errors import LineageUnavailableError
from factflow_lineage.filters import LineageFilter
from factflow_lineage.models import PipelineLineageEntry, entry_from_record
from factflow_protocols.errors import (
    QueueUnavailableError,
    RecordDamagedError,
    StorageError,
    StorageUnavailableError,
)


async def message_facts(
    gatherer: FactGatherer, execution: ExecutionFacts, message_id: str
) -> MessageFacts | None:
    """Return what is known of a message of this execution; None when nothing is.

    Lineage and queue are asked; the records only when lineage has no row, stage by stage.
    """
    facts = MessageFacts(message_id=message_id, execution=execution)
    facts = await _with_place(gatherer, facts)
    facts = await _with_rows(gatherer, facts)
    if facts.row is None and (facts.place is None or facts.place.state == "settled"):
        facts = await _with_record(gatherer, facts)
    if facts.row is None and facts.place is None and facts.damaged_record is None:
        return None
    facts = await _with_descendants(gatherer, facts)
    return await _with_artefact(gatherer, facts)


async def _with_place(gatherer: FactGatherer, facts: MessageFacts) -> MessageFacts:
    try:
        place = await gatherer.find(facts.execution.execution, facts.message_id)
    except QueueUnavailableError as error:
        return replace(facts, queue_trouble=error.message)
    envelope = envelopes.decode(place.body) if place is not None and place.body else None
    gathering = [
        stage
        for (_, stage), ids in gatherer.manager.gathering(facts.execution.id).items()
        if facts.message_id in ids
    ]
    return replace(
        facts, place=place, envelope=envelope, gathering_at=gathering[0] if gathering else None
    )


async def _with_rows(gatherer: FactGatherer, facts: MessageFacts) -> MessageFacts:
    wanted = LineageFilter(execution_id=facts.execution.id, message_id=facts.message_id)
    try:
        rows = (await gatherer.lineage.list(wanted)).entries
    except LineageUnavailableError:
        return facts  # what is said of the execution tells it
    return replace(facts, rows=_in_order(facts.execution, rows))


def _in_order(
    execution: ExecutionFacts, rows: tuple[PipelineLineageEntry, ...]
) -> tuple[PipelineLineageEntry, ...]:
    """Return a message's rows as its stages run: two may have begun in the same instant."""
    graph = execution.graph

    def place(row: PipelineLineageEntry) -> tuple[int, float]:
        known = graph is not None and row.route_id in graph.config.routes
        names = [each.stage_name for each in graph.stages(row.route_id)] if graph and known else []
        return names.index(row.stage) if row.stage in names else -1, row.started_at

    return tuple(sorted(rows, key=place))


async def _with_record(gatherer: FactGatherer, facts: MessageFacts) -> MessageFacts:
    """Look for the record of the furthest stage, in each stage the snapshot has."""
    graph = facts.execution.graph
    for route_id in graph.config.routes if graph is not None else ():
        for stage in reversed(graph.stages(route_id) if graph is not None else ()):
            key = stage_key(facts.execution.id, route_id, stage.stage_name, facts.message_id)
            try:
                record = await gatherer.store.find(key)
            except RecordDamagedError:
                return replace(facts, damaged_record=key)
            except StorageUnavailableError as error:
                return replace(facts, storage_trouble=error.message)
            except StorageError:
                continue  # a name that no key can have
            if record is not None:
                return replace(facts, rows=(entry_from_record(record),), from_record=True)
    return facts


async def _with_descendants(gatherer: FactGatherer, facts: MessageFacts) -> MessageFacts:
    """Add what failed and what is under way below a message that has ended itself."""
    row = facts.row
    if row is None or facts.from_record or row.outcome is None:
        return facts
    lineage, execution_id = gatherer.lineage, facts.execution.id
    try:
        failures = await lineage.failure_groups(execution_id, below=row.id)
        under_way: list[PipelineLineageEntry] = []
        if row.pending_children:
            under_way += await lineage.under_way(execution_id, "processing", below=row.id)
            under_way += await lineage.under_way(execution_id, "pending", below=row.id)
    except LineageUnavailableError:
        return facts
    routes: set[str] = set()
    graph = facts.execution.graph
    if row.pending_children and graph is not None and row.route_id in graph.config.routes:
        routes = graph.reachable_from(row.route_id)
    ordered = tuple(name for name in facts.execution.routes if name in routes)
    return replace(
        facts,
        failures_below=failures,
        under_way_below=tuple(under_way),
        children_routes=ordered,
    )


async def _with_artefact(gatherer: FactGatherer, facts: MessageFacts) -> MessageFacts:
    """Ask storage whether what the message needs, or left, is there."""
    row, envelope = facts.row, facts.envelope
    key = envelope.input_key if envelope is not None else None
    if key is None and row is not None:
        key = row.output_key or row.input_key
    if not key or facts.storage_trouble is not None:
        return facts
    try:
        there = await gatherer.store.storage.exists(key)
    except StorageUnavailableError as error:
        return replace(facts, storage_trouble=error.message)
    return facts if there else replace(facts, missing_key=key)
