"""Selects what a replay publishes: the frontier of the source, seen from one stage.

at the stage            enters                  with
stored, or fanned out   after it                the artefact(s)
skipped by condition    after it                its input
failed                  at it                   its input
queued or cut off       where it stood          its input        (when the source has ended)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import PlannedMessage
from factflow_foundation import ids
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.storage import StorageProtocol
from factflow_replay.replay.models import ArtefactsMissingError, SelectionCounts
from factflow_replay.replay.route_resolver import ReplayTarget
from factflow_replay.replay.source_records import (
    Announced,
    SourceRecords,
    continuing,
    from_input,
)


@dataclass(slots=True)
class Selection:
    """What will be published, in a stable order, and the counts behind it."""

    messages: list[PlannedMessage] = field(default_factory=list)
    counts: SelectionCounts = field(default_factory=SelectionCounts)


class Replayer:
    """Makes the selection for one target from the source's records."""

    def __init__(
        self,
        records: SourceRecords,
        graph: PipelineGraph,
        target: ReplayTarget,
        *,
        source_ended: bool,
    ) -> None:
        self._records = records
        self._graph = graph
        self._target = target
        self._ended = source_ended
        self._index = graph.stage_index(target.route, target.stage)
        self._selection = Selection()
        self._seen: set[str] = set()
        self._parents: dict[str, str | None] = {}
        self._at_stage: set[str] = set()

    async def select(self) -> Selection:
        """Return the selection. Raises `ObjectDamagedError` for a record that cannot be read."""
        await self._load_ancestry()
        async for record in self._records.of_stage(self._target.route, self._target.stage):
            self._seen.add(record.origin_id)
            if self._is_covered(record.parent_id):
                self._selection.counts.covered += 1
            else:
                await self._take(record)
        await self._take_skipped()
        await self._take_waiting()
        return self._selection

    async def _take(self, record: OutcomeRecord) -> None:
        counts = self._selection.counts
        if record.outcome == "filtered":
            counts.filtered += 1
        elif record.outcome == "failed":
            if self._target.redirected:
                counts.without_artefact += 1
            else:
                counts.at_stage_failed += 1
                self._selection.messages.append(from_input(record, record.stage))
        elif record.outcome == "passed":
            counts.skipped_by_condition += 1
            await self._add_outputs(record)
        else:
            counts.after_stage += 1
            await self._add_outputs(record)

    async def _add_outputs(self, record: OutcomeRecord) -> None:
        """Add what goes on behind the stage: its children, or its artefact down the chain."""
        target = self._target
        if target.redirected and record.outcome != "fanned_out":
            artefact = (
                continuing(record, target.stage)
                if record.outcome == "stored"
                else from_input(record, target.stage)
            )
            name = ids.ChildNames().next(None)
            self._selection.messages.append(self._redirect(artefact, record.origin_id, name))
        elif record.outcome == "stored" and not record.children_count:
            self._selection.messages.append(continuing(record, target.entry_stage))
        else:
            async for child in self._records.children(record):
                message = child.message
                if target.redirected:
                    message = self._redirect(message, record.origin_id, message.name)
                self._selection.messages.append(message)

    def _redirect(self, message: PlannedMessage, parent_origin: str, name: str) -> PlannedMessage:
        target = self._target
        origin = ids.child_origin(parent_origin, target.route, target.stage, target.to_queue, name)
        return msgspec.structs.replace(
            message, origin_id=origin, route=target.to_route, entry_stage=target.entry_stage
        )

    async def _take_skipped(self) -> None:
        """Messages that the stage's condition let pass: named by their next record."""
        stages = self._graph.stages(self._target.route)
        if stages[self._index].condition is None:
            return
        for later in stages[self._index + 1 :]:
            async for record in self._records.of_stage(self._target.route, later.stage_name):
                if self._target.stage not in record.passed or record.origin_id in self._seen:
                    continue
                self._seen.add(record.origin_id)
                if self._is_covered(record.parent_id):
                    self._selection.counts.covered += 1
                    continue
                self._selection.counts.skipped_by_condition += 1
                message = from_input(record, self._target.entry_stage)
                if self._target.redirected:
                    message = self._redirect(message, record.origin_id, ids.ChildNames().next(None))
                self._selection.messages.append(message)

    async def _take_waiting(self) -> None:
        """Messages that had come to the stage and were not settled there."""
        async for announced in self._waiting():
            if announced.message.origin_id in self._seen:
                continue
            self._seen.add(announced.message.origin_id)
            counts = self._selection.counts
            if self._is_covered(announced.parent_lineage_id):
                counts.covered += 1
            elif not self._ended:
                counts.not_settled += 1
            elif self._target.redirected:
                counts.without_artefact += 1
            else:
                counts.at_stage_queued += 1
                self._selection.messages.append(announced.message)

    async def _waiting(self) -> AsyncIterator[Announced]:
        """Yield what stood before the stage; also before stages right in front of it that a condition
        may skip: such a message goes on from where it stood, whatever the condition says."""
        stages = self._graph.stages(self._target.route)
        settled = await self._settled_between()
        for index in range(self._index, -1, -1):
            async for announced in self._records.announced_at(
                self._target.route, stages[index].stage_name
            ):
                if announced.message.origin_id not in settled:
                    yield announced
            if index == 0 or stages[index - 1].condition is None:
                return

    async def _settled_between(self) -> set[str]:
        """Return origins that a conditional stage right before ours did handle: they stood further on,
        or ended there."""
        stages = self._graph.stages(self._target.route)
        settled: set[str] = set()
        for adapter in reversed(stages[: self._index]):
            if adapter.condition is None:
                break
            async for record in self._records.of_stage(self._target.route, adapter.stage_name):
                if record.outcome != "stored":
                    settled.add(record.origin_id)
        return settled

    async def _load_ancestry(self) -> None:
        """On a cycle a path may pass the stage twice: note every row's parent, to find the earliest."""
        target = self._target
        if not self._on_cycle(target.route):
            return
        for member in self._graph.reachable_from(target.route):
            for adapter in self._graph.stages(member):
                async for record in self._records.of_stage(member, adapter.stage_name):
                    self._parents[record.lineage_id] = record.parent_id
                    here = (record.route, record.stage) == (target.route, target.stage)
                    if record.route == target.route and (here or target.stage in record.passed):
                        self._at_stage.add(record.lineage_id)

    def _on_cycle(self, route: str) -> bool:
        followers = {edge.to_route for edge in self._graph.edges() if edge.from_route == route}
        return any(route in self._graph.reachable_from(follower) for follower in followers)

    def _is_covered(self, parent: str | None) -> bool:
        """Tell whether a row further up this path stands at the stage too."""
        while parent is not None:
            if parent in self._at_stage:
                return True
            parent = self._parents.get(parent)
        return False


async def require_artefacts(storage: StorageProtocol, messages: list[PlannedMessage]) -> None:
    """Raise `ArtefactsMissingError` unless every artefact to be published is stored."""
    wanted = dict.fromkeys(message.input_key for message in messages)
    missing = [key for key in wanted if not await storage.exists(key)]
    if missing:
        raise ArtefactsMissingError(missing)
