"""An execution as a replay sees it: its records, with those of earlier replays laid over them.

Per origin and stage the last laid execution whose outcome is not `failed` wins (when all failed, the last
one). The children of the outcome that wins replace all children of those it covers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import PlannedMessage
from factflow_foundation import ids
from factflow_foundation.records import OutcomeRecord
from factflow_replay.replay.covered_branches import CoveredBranches
from factflow_replay.replay.route_resolver import dead_letter_route
from factflow_replay.replay.source_records import Announced, SourceRecords, continuing


class SourceView:
    """Reads the outcomes that count. `layers` are the source and then what is laid over it, in order;
    `graph` is of the source's snapshot. Call `open` before anything else."""

    def __init__(self, layers: Sequence[SourceRecords], graph: PipelineGraph) -> None:
        self._layers = list(layers)
        self._graph = graph
        self._branches = CoveredBranches(graph)

    async def open(self, routes: set[str]) -> None:
        """Find what the overlays replaced, in the routes that matter."""
        if len(self._layers) > 1:
            await self._branches.load(self._layers, routes)

    @property
    def execution_ids(self) -> list[str]:
        """Return the executions it reads, the source first."""
        return [layer.execution_id for layer in self._layers]

    @property
    def layers(self) -> Sequence[SourceRecords]:
        """Return the records of each of them."""
        return self._layers

    async def of_stage(self, route: str, stage: str) -> AsyncIterator[OutcomeRecord]:
        """Yield the outcomes of a stage that count, one per origin. Raises `ObjectDamagedError`."""
        if len(self._layers) == 1:
            async for record in self._layers[0].of_stage(route, stage):
                yield record
            return
        async for record in self._counting(route, stage, SourceRecords.of_stage):
            yield record

    async def failed_at(self, route: str, stage: str) -> AsyncIterator[OutcomeRecord]:
        """Yield the failures at a stage that count, one per origin. Raises `ObjectDamagedError`."""
        async for record in self._counting(route, stage, SourceRecords.failed_at):
            if record.outcome == "failed":
                yield record

    async def _counting(
        self,
        route: str,
        stage: str,
        read: Callable[[SourceRecords, str, str], AsyncIterator[OutcomeRecord]],
    ) -> AsyncIterator[OutcomeRecord]:
        """Yield the outcomes that count for the origins that `read` gives, once for each of them.

        `read` may leave out outcomes: what is given for an origin by a layer is compared with the others.
        """
        laid = [await layer.message_ids(route, stage) for layer in self._layers[1:]]
        for number, layer in enumerate(self._layers):
            async for record in read(layer, route, stage):
                origin = record.origin_id
                if self._branches.is_covered(route, stage, origin):
                    continue
                if number == 0:
                    above = [
                        other
                        for other, known in zip(self._layers[1:], laid, strict=True)
                        if known is None or ids.message_id(other.execution_id, origin) in known
                    ]
                    yield await self._winner(route, stage, record, above)
                elif not await self._below(number, route, stage, origin, laid):
                    yield await self._winner(route, stage, record, self._layers[number + 1 :])

    async def first_at(self, route: str, stage: str) -> OutcomeRecord | None:
        """Return some outcome of a stage, of the source if it has one; None when it never ran."""
        for layer in self._layers:
            record = await layer.first(route, stage)
            if record is not None:
                return record
        return None

    async def every_version(self, route: str, stage: str) -> AsyncIterator[OutcomeRecord]:
        """Yield all outcomes of a stage, those that are covered too."""
        for layer in self._layers:
            async for record in layer.of_stage(route, stage):
                yield record

    async def find(self, route: str, stage: str, origin_id: str) -> OutcomeRecord | None:
        """Return the outcome that counts for an origin at a stage; None when there is none."""
        if self._branches.is_covered(route, stage, origin_id):
            return None
        failed = None
        for layer in reversed(self._layers):
            record = await layer.find(route, stage, origin_id)
            if record is not None and record.outcome != "failed":
                return record
            failed = failed or record
        return failed

    async def children(self, record: OutcomeRecord) -> AsyncIterator[Announced]:
        """Yield the messages a record announces, as they would be published again."""
        async for child in self._layers[0].children(record):
            yield child

    async def announced_at(self, route: str, stage: str) -> AsyncIterator[Announced]:
        """Yield every message that was to enter `route` at `stage`, or reached it within its chain.

        An origin may come twice: announced by the source, and taken up by an overlay.
        """
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
        for layer in self._layers:
            async for message in layer.starts():
                if self._is_at(message, route, stage):
                    yield Announced(message, message.replayed_from)

    def _is_at(self, message: PlannedMessage, route: str, stage: str) -> bool:
        at = (message.route, message.entry_stage) == (route, stage)
        return at and not self._branches.is_covered(route, stage, message.origin_id)

    def _producers(self, route: str, index: int) -> list[tuple[str, str]]:
        """Return the stages whose outcomes may send messages into `route` at stage number `index`."""
        if index > 0:
            return [(route, self._graph.stages(route)[index - 1].stage_name)]
        queue = self._graph.route(route).inbound.queue
        found: list[tuple[str, str]] = []
        for other in self._graph.config.routes:
            stages = [adapter.stage_name for adapter in self._graph.stages(other)]
            if dead_letter_route(self._graph, other) == route:
                found.extend((other, stage) for stage in stages)
            elif self._graph.outbound(other) == queue:
                found.append((other, stages[-1]))
        return found

    async def _winner(
        self, route: str, stage: str, record: OutcomeRecord, above: Sequence[SourceRecords]
    ) -> OutcomeRecord:
        for layer in above:
            other = await layer.find(route, stage, record.origin_id)
            if other is not None and (other.outcome != "failed" or record.outcome == "failed"):
                record = other
        return record

    async def _below(
        self, number: int, route: str, stage: str, origin: str, laid: list[set[str] | None]
    ) -> bool:
        """Tell whether a layer below has the origin at the stage, and so has yielded it already."""
        for layer, known in zip(self._layers[1:number], laid, strict=False):
            if known is None:
                if await layer.find(route, stage, origin) is not None:
                    return True
            elif ids.message_id(layer.execution_id, origin) in known:
                return True
        return await self._layers[0].find(route, stage, origin) is not None
