"""Outcomes that lineage has seen and storage has lost: a message of which every file is gone leaves no trace
in the records, and would be left out in silence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from factflow_foundation.keys import StageKey
from factflow_lineage.errors import LineageUnavailableError
from factflow_lineage.filters import LineageFilter
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.repository import PipelineLineageRepository
from factflow_replay.replay.source_records import SourceRecords

PAGE = 1_000


class LostRecords:
    """Asks lineage as a witness, not as a source: it can refuse a replay and never selects for one.

    Rows are made from committed records only, so there cannot be more of them than records. Where lineage
    has a gap, does not answer or was not given, nothing is known to be lost.
    """

    def __init__(self, lineage: PipelineLineageRepository | None) -> None:
        self._lineage = lineage

    async def keys(
        self, layers: Sequence[SourceRecords], places: Iterable[tuple[str, str]]
    ) -> AsyncIterator[str]:
        """Yield the keys of lost records at some stages of some executions."""
        for route, stage in places:
            for layer in layers:
                async for key in self._at(layer, route, stage):
                    yield key

    async def _at(self, layer: SourceRecords, route: str, stage: str) -> AsyncIterator[str]:
        stored = await layer.count(route, stage)
        async for rows, total in self._rows(layer.execution_id, route, stage):
            if total <= stored:
                return
            for row in rows:
                ended = row.outcome is not None
                if ended and await layer.find(route, stage, row.origin_id) is None:
                    yield str(StageKey(layer.execution_id, route, stage, row.message_id))

    async def _rows(
        self, execution_id: str, route: str, stage: str
    ) -> AsyncIterator[tuple[Sequence[PipelineLineageEntry], int]]:
        """Yield the rows of a stage by pages, each with the number of all."""
        if self._lineage is None:
            return
        offset = 0
        while True:
            wanted = LineageFilter(
                execution_id=execution_id, route_id=route, stage=stage, limit=PAGE, offset=offset
            )
            try:
                page = await self._lineage.list(wanted)
            except LineageUnavailableError:
                return
            yield page.entries, page.total
            offset += len(page.entries)
            if not page.has_more or not page.entries:
                return
