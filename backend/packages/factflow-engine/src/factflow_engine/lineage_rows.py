"""Lineage rows from outcome records: as they are committed, and again when rows were lost."""

from __future__ import annotations

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.outcome_store import OutcomeStore
from factflow_foundation import keys, records
from factflow_foundation.records import OutcomeRecord
from factflow_lineage.models import PipelineLineageEntry, entry_from_record
from factflow_lineage.writer import LineageService

CHUNK = 500


def announced_count(graph: PipelineGraph, record: OutcomeRecord) -> int:
    """Return how many messages a record announces; emitted artefacts that no route reads are none."""
    last = graph.next_stage(record.route, record.stage) is None
    if record.outcome == "fanned_out" and last and graph.outbound(record.route) is None:
        return 0
    return record.children_count


def row_of(graph: PipelineGraph, record: OutcomeRecord) -> PipelineLineageEntry:
    """Return a record's row, told how many rows will follow it."""
    goes_on = (
        record.outcome == "stored" and graph.next_stage(record.route, record.stage) is not None
    )
    expected = 1 if goes_on else announced_count(graph, record)
    return entry_from_record(record, expected_children=expected)


async def rebuild_rows(
    execution_id: str, graph: PipelineGraph, store: OutcomeStore, lineage: LineageService
) -> int:
    """Record a row for every outcome an execution stored, and return how many those are.

    Rows that stand already change nothing. Raises `ObjectDamagedError` for a record that cannot be read.
    """
    count = 0
    chunk: list[PipelineLineageEntry] = []
    async for item in store.storage.list(keys.execution_prefix(execution_id), records=True):
        if item.key == keys.init_key(execution_id):
            continue
        record = records.from_metadata(await store.storage.metadata(item.key))
        chunk.append(row_of(graph, record))
        if len(chunk) == CHUNK:
            count += await lineage.rebuild(chunk)
            chunk = []
    return count + await lineage.rebuild(chunk)
