"""Lineage rows from outcome records: as they are committed, and again when rows were lost."""

from __future__ import annotations

from dataclasses import dataclass

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.record_scan import scan
from factflow_foundation import keys
from factflow_foundation.records import OutcomeRecord
from factflow_lineage.models import PipelineLineageEntry, entry_from_record
from factflow_lineage.writer import LineageService
from factflow_protocols.errors import RecordDamagedError
from factflow_protocols.storage import RecordInfo

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


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Rows made from records, and the keys of records that cannot be read."""

    rows: int
    damaged: tuple[str, ...]


async def rebuild_rows(
    execution_id: str, graph: PipelineGraph, store: OutcomeStore, lineage: LineageService
) -> Rebuilt:
    """Record a row for every outcome an execution stored; rows that stand already change nothing.

    A record that cannot be read is left out, unless the message that met it left its failure.
    """
    count = 0
    damaged: list[str] = []
    chunk: list[PipelineLineageEntry] = []

    def of_a_stage(item: RecordInfo) -> bool:
        return keys.is_stage_key(execution_id, item.key)

    async for found in scan(store, keys.execution_prefix(execution_id), wanted=of_a_stage):
        if isinstance(found.record, RecordDamagedError):
            damaged.append(found.key)
            continue
        chunk.append(row_of(graph, found.record))
        if len(chunk) == CHUNK:
            count += await lineage.rebuild(chunk)
            chunk = []
    return Rebuilt(count + await lineage.rebuild(chunk), tuple(damaged))
