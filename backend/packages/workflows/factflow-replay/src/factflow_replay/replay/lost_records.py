"""Outcomes that lineage has seen and storage has lost: a message of which every file is gone leaves no trace
in the records, and would be left out in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence

from factflow_foundation.keys import stage_key
from factflow_lineage.errors import LineageUnavailableError
from factflow_lineage.filters import LineageFilter
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.repository import PipelineLineageRepository
from factflow_replay.replay.source_records import SourceRecords

PAGE = 5_000


class LostRecords:
    """Asks lineage as a witness, not as a source: it can refuse a replay and never selects for one.

    Committed rows are made from records only, so there cannot be more of them than records; counters tell
    how many there are, and only when some are lost are rows looked at. Where lineage has a gap, does not
    answer or was not given, nothing is known to be lost.
    """

    def __init__(self, lineage: PipelineLineageRepository | None) -> None:
        self._lineage = lineage

    async def at(
        self, layers: Sequence[SourceRecords], route: str, stage: str
    ) -> AsyncIterator[str]:
        """Yield the keys of records that a stage has lost, in some executions."""
        for layer in layers:
            lost = (await self._seen(layer.execution_id))[route, stage]
            if lost:
                lost -= await layer.count(route, stage)
            if lost > 0:
                async for row in self._rows(layer.execution_id, route_id=route, stage=stage):
                    if await _is_lost(layer, row):
                        yield _key(row)

    async def failed(self, layers: Sequence[SourceRecords]) -> AsyncIterator[str]:
        """Yield the keys of lost records of failures, at the stages whose failures were read."""
        for layer in layers:
            seen = await self._seen(layer.execution_id, failed_only=True)
            for (route, stage), found in layer.failures.items():
                if seen[route, stage] <= found:
                    continue
                conditions = {"route_id": route, "stage": stage, "status": "failed"}
                async for row in self._rows(layer.execution_id, **conditions):
                    if await _is_lost(layer, row):
                        yield _key(row)

    async def _seen(
        self, execution_id: str, *, failed_only: bool = False
    ) -> Counter[tuple[str, str]]:
        """Return how many outcomes, or failures, lineage has seen at each stage."""
        seen: Counter[tuple[str, str]] = Counter()
        if self._lineage is not None:
            try:
                for stats in await self._lineage.stats(execution_id):
                    others = 0 if failed_only else stats.completed
                    seen[stats.route_id, stats.stage] += others + stats.failed
            except LineageUnavailableError:
                seen.clear()
        return seen

    async def _rows(
        self, execution_id: str, **conditions: str
    ) -> AsyncIterator[PipelineLineageEntry]:
        cursor, more = None, True
        while more and self._lineage is not None:
            wanted = LineageFilter(
                execution_id=execution_id,
                limit=PAGE,
                cursor=cursor,
                **conditions,  # type: ignore[arg-type]  # names of texts
            )
            try:
                page = await self._lineage.list(wanted)
            except LineageUnavailableError:
                return
            for row in page.entries:
                yield row
            cursor = page.next_cursor
            more = cursor is not None


async def _is_lost(layer: SourceRecords, row: PipelineLineageEntry) -> bool:
    return row.committed and await layer.find(row.route_id, row.stage, row.origin_id) is None


def _key(row: PipelineLineageEntry) -> str:
    return stage_key(row.execution_id, row.route_id, row.stage, row.message_id)
