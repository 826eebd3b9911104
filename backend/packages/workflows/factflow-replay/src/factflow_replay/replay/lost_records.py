"""Outcomes that lineage has seen and storage has lost: a message of which every file is gone leaves no trace
in the records, and would be left out in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence

from factflow_foundation.keys import StageKey
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

    async def keys(
        self, layers: Sequence[SourceRecords], places: Iterable[tuple[str, str]]
    ) -> AsyncIterator[str]:
        """Yield the keys of lost records at some stages of some executions."""
        places = list(places)
        for layer in layers if places else ():
            seen = await self._seen(layer.execution_id)
            for route, stage in places:
                lost = seen[route, stage]
                if lost:
                    lost -= await layer.count(route, stage)
                if lost <= 0:
                    continue
                async for row in self._rows(layer.execution_id, route, stage):
                    if lost == 0:
                        break
                    if row.committed and await layer.find(route, stage, row.origin_id) is None:
                        lost -= 1
                        yield str(StageKey(layer.execution_id, route, stage, row.message_id))

    async def _seen(self, execution_id: str) -> Counter[tuple[str, str]]:
        """Return how many outcomes lineage has seen at each stage."""
        seen: Counter[tuple[str, str]] = Counter()
        if self._lineage is not None:
            try:
                for stats in await self._lineage.stats(execution_id):
                    seen[stats.route_id, stats.stage] += stats.completed + stats.failed
            except LineageUnavailableError:
                seen.clear()
        return seen

    async def _rows(
        self, execution_id: str, route: str, stage: str
    ) -> AsyncIterator[PipelineLineageEntry]:
        offset, more = 0, True
        while more and self._lineage is not None:
            wanted = LineageFilter(
                execution_id=execution_id, route_id=route, stage=stage, limit=PAGE, offset=offset
            )
            try:
                page = await self._lineage.list(wanted)
            except LineageUnavailableError:
                return
            for row in page.entries:
                yield row
            offset += len(page.entries)
            more = page.has_more and bool(page.entries)
