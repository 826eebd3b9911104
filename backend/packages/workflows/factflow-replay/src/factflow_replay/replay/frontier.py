"""Every message that came to a stage, and how it stood there.

row         at the stage
done        stored an artefact, or emitted children
passed      skipped by its condition, and the chain ended so
skipped     skipped by its condition; a later stage's record says so
failed      failed for good
filtered    ended there
queued      queued, or cut off while it was processed
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import PlannedMessage
from factflow_foundation.records import OutcomeRecord
from factflow_replay.replay.source_records import Announced, from_input
from factflow_replay.replay.source_view import SourceView

Row = Literal["done", "passed", "skipped", "failed", "filtered", "queued"]

_ROWS: dict[str, Row] = {"passed": "passed", "failed": "failed", "filtered": "filtered"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One message at a stage. `record` is how the stage (for `skipped` a later one) ended for it, None for
    `queued`; `source` tells of the message: what sent it there, or the stage's own record."""

    row: Row
    source: PlannedMessage | OutcomeRecord
    record: OutcomeRecord | None
    parent_lineage_id: str | None

    @property
    def message(self) -> PlannedMessage:
        """Return the message that enters with the input it had there."""
        source = self.source
        return from_input(source, source.stage) if isinstance(source, OutcomeRecord) else source

    @property
    def origin_id(self) -> str:
        """Return the message's origin."""
        return self.source.origin_id


class Frontier:
    """Reads the candidates of a replay. `settled` tells that nothing of the source can be waiting."""

    def __init__(self, view: SourceView, graph: PipelineGraph, *, settled: bool) -> None:
        self._view = view
        self._graph = graph
        self._settled = settled

    async def at_stage(self, route: str, stage: str) -> AsyncIterator[Candidate]:
        """Yield what came to a stage, by its own records first."""
        async for record in self._view.of_stage(route, stage):
            yield _of_record(record)
        conditional = self._graph.stage(route, stage).condition is not None
        if conditional or not self._settled:
            async for candidate in self.announced_at(route, stage):
                if candidate.row in {"skipped", "queued"}:
                    yield candidate

    async def failed(self) -> AsyncIterator[Candidate]:
        """Yield every message that failed, at the stage where it did."""
        for route in self._graph.config.routes:
            for adapter in self._graph.stages(route):
                async for record in self._view.failed_at(route, adapter.stage_name):
                    yield _of_record(record)

    async def announced_at(self, route: str, stage: str) -> AsyncIterator[Candidate]:
        """Yield what came to a stage, by what sent it there: its metadata is what the stage was given.

        A message that stands before conditional stages right in front of this one may come here
        without another record; cut off there, it goes on from where it stood.
        """
        stages = [adapter.stage_name for adapter in self._graph.stages(route)]
        at = self._graph.stage_index(route, stage)
        seen: set[bytes] | None = set() if len(self._view.execution_ids) > 1 else None
        for index in range(at, -1, -1):
            async for announced in self._view.announced_at(route, stages[index]):
                if seen is not None:
                    origin = bytes.fromhex(announced.message.origin_id)
                    if origin in seen:
                        continue
                    seen.add(origin)
                candidate = await self._standing(announced, stages, index, at)
                if candidate is not None:
                    yield candidate
            if index == 0 or self._graph.stages(route)[index - 1].condition is None:
                return

    async def _standing(
        self, announced: Announced, stages: list[str], index: int, at: int
    ) -> Candidate | None:
        """Return how an announced message stands at stage number `at`; None when it never came there."""
        message, parent = announced.message, announced.parent_lineage_id
        route, stage = message.route, stages[at]
        for before in stages[index:at]:
            if await self._view.find(route, before, message.origin_id) is not None:
                return None
        here = msgspec.structs.replace(message, entry_stage=stage)
        record = await self._view.find(route, stage, message.origin_id)
        if record is not None:
            row = _ROWS.get(record.outcome, "done")
            return Candidate(row, here, record, parent)
        for later in stages[at + 1 :]:
            record = await self._view.find(route, later, message.origin_id)
            if record is not None:
                # It stood before the stage and went past without a record there. `passed` need not name
                # the stage: a replay that is laid over may have taken the message up behind it.
                return Candidate("skipped", here, record, parent)
        return Candidate("queued", message, None, parent)


def _of_record(record: OutcomeRecord) -> Candidate:
    row = _ROWS.get(record.outcome, "done")
    return Candidate(row, record, record, record.parent_id or record.replayed_from)
