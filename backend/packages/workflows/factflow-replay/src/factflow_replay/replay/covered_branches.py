"""What an overlay replaced: messages that only a covered outcome announced, and all that came of them."""

from __future__ import annotations

from collections.abc import Sequence

from factflow_engine.config.graph import PipelineGraph
from factflow_foundation.records import OutcomeRecord
from factflow_replay.replay.source_records import SourceRecords

Branch = tuple[str, int, str]
"""Route, number of the first stage that no longer counts, origin."""


class CoveredBranches:
    """Origins that do not count any more, from a stage of their route on.

    Only what the overlays did is walked through, and what it replaced; the source is looked up.
    """

    def __init__(self, graph: PipelineGraph) -> None:
        self._graph = graph
        self._from: dict[str, tuple[str, int]] = {}

    def is_covered(self, route: str, stage: str, origin_id: str) -> bool:
        """Tell whether an origin's outcome at a stage was replaced with its parent's."""
        if not self._from:
            return False
        found = self._from.get(origin_id)
        return found is not None and found[0] == route and self._index(route, stage) >= found[1]

    async def load(self, layers: Sequence[SourceRecords], routes: set[str]) -> None:
        """Compare every outcome of the overlays in `routes` with those it covers, or is covered by."""
        waiting: list[Branch] = []
        for number, layer in enumerate(layers[1:], start=1):
            for route in sorted(routes):
                for adapter in self._graph.stages(route):
                    async for record in layer.of_stage(route, adapter.stage_name):
                        below = layers[:number]
                        waiting += await self._replaced(record, below)
        while waiting:
            branch = waiting.pop()
            if self._note(branch):
                waiting += await self._behind(branch, layers)

    async def _replaced(
        self, record: OutcomeRecord, below: Sequence[SourceRecords]
    ) -> list[Branch]:
        """Return the branches that end because this outcome covers one below it, or is covered."""
        standing: OutcomeRecord | None = None
        reader = below[0]
        for layer in below:
            other = await layer.find(record.route, record.stage, record.origin_id)
            if other is not None and (
                standing is None or other.outcome != "failed" or standing.outcome == "failed"
            ):
                standing = other
        if standing is None:
            return []
        stays = record.outcome == "failed" and standing.outcome != "failed"
        winner, loser = (standing, record) if stays else (record, standing)
        kept = {origin for _, _, origin in await self._children(reader, winner)}
        gone = [child for child in await self._children(reader, loser) if child[2] not in kept]
        if self._goes_on(loser) and not self._goes_on(winner):
            after = self._index(loser.route, loser.stage) + 1
            gone.append((loser.route, after, loser.origin_id))
        return gone

    async def _behind(self, branch: Branch, layers: Sequence[SourceRecords]) -> list[Branch]:
        """Return the branches that a replaced message's own outcomes announced, in any layer."""
        route, first, origin = branch
        found: list[Branch] = []
        if route not in self._graph.config.routes:
            return found
        for adapter in self._graph.stages(route)[first:]:
            for layer in layers:
                record = await layer.find(route, adapter.stage_name, origin)
                if record is not None:
                    found += await self._children(layer, record)
        return found

    async def _children(self, reader: SourceRecords, record: OutcomeRecord) -> list[Branch]:
        return [
            (
                child.message.route,
                self._index(child.message.route, child.message.entry_stage),
                child.message.origin_id,
            )
            async for child in reader.children(record)
        ]

    def _goes_on(self, record: OutcomeRecord) -> bool:
        """Tell whether the same message went on to a further stage of its route."""
        return record.outcome == "stored" and not record.children_count

    def _note(self, branch: Branch) -> bool:
        """Remember a branch; False when it is known already."""
        route, first, origin = branch
        known = self._from.get(origin)
        if known is not None and known[1] <= first:
            return False
        self._from[origin] = (route, first)
        return True

    def _index(self, route: str, stage: str) -> int:
        """Return a stage's number; 0 for one the source's pipeline does not have."""
        if not self._graph.resolve_stage(f"{route}/{stage}"):
            return 0
        return self._graph.stage_index(route, stage)
