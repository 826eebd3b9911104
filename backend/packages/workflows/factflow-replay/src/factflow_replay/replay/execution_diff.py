"""Two executions compared, message by message: paired by origin, told apart by what came out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.outcome_store import OutcomeStore
from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import PipelineExecution
from factflow_execution.snapshot import snapshot_config
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.storage import StorageProtocol
from factflow_replay.replay.content_diff import ContentDiff
from factflow_replay.replay.errors import StageAmbiguousError, StageNotFoundError
from factflow_replay.replay.route_resolver import stage_names
from factflow_replay.replay.source_records import SourceRecords

ChangeKind = Literal["changed", "only_a", "only_b"]
Place = tuple[str, str]
"""Route and stage."""


@dataclass(frozen=True, slots=True)
class MessageDifference:
    """A message that is not the same in both; `a` and `b` are the records, None where there is none.

    `diff` is the unified diff of the content, when it was asked for and is text.
    """

    kind: ChangeKind
    route: str
    stage: str
    origin_id: str
    a: OutcomeRecord | None
    b: OutcomeRecord | None
    diff: str | None = None


@dataclass(slots=True)
class StageDifference:
    """One stage in both executions. `avg_ms_a` and `avg_ms_b` are means over messages that both have.

    `not_run` counts messages that one of them, a replay, took up behind this stage. `not_run_in` names
    the replay ("a" or "b") that has no message at this stage at all, because it began behind it or went
    another way. Neither makes a difference.
    """

    route: str
    stage: str
    same: int = 0
    changed: int = 0
    only_a: int = 0
    only_b: int = 0
    not_run: int = 0
    seconds_a: float = 0.0
    seconds_b: float = 0.0
    not_run_in: Literal["a", "b"] | None = None

    @property
    def avg_ms_a(self) -> float | None:
        """Return A's mean duration in milliseconds."""
        return _mean_ms(self.seconds_a, self.same + self.changed)

    @property
    def avg_ms_b(self) -> float | None:
        """Return B's mean duration in milliseconds."""
        return _mean_ms(self.seconds_b, self.same + self.changed)

    @property
    def differs(self) -> bool:
        """Tell whether messages differ that could have been compared."""
        return self.not_run_in is None and bool(self.changed or self.only_a or self.only_b)


@dataclass(slots=True)
class ExecutionDifference:
    """The comparison. `changes` has the first of the messages that differ, those that both have before
    the others; `changes_left` counts the rest."""

    a: PipelineExecution
    b: PipelineExecution
    stages: list[StageDifference] = field(default_factory=list)
    changes: list[MessageDifference] = field(default_factory=list)
    changes_left: int = 0

    @property
    def same(self) -> bool:
        """Tell whether nothing differs, and something could be compared."""
        compared = any(stage.same or stage.changed for stage in self.stages)
        empty = not any(stage.only_a or stage.only_b for stage in self.stages)
        return (compared or empty) and not any(stage.differs for stage in self.stages)


class _Side(SourceRecords):
    """One of two executions; of a replay also where its messages entered, some 130 bytes for each."""

    @classmethod
    async def of(
        cls, execution: PipelineExecution, graph: PipelineGraph, store: OutcomeStore
    ) -> _Side:
        side = cls(execution.execution_id, graph, store)
        places: dict[Place, Place] = {}
        if execution.source == "replay":
            async for message in side.starts():
                place = (message.route, message.entry_stage)
                side._entered[bytes.fromhex(message.origin_id)] = places.setdefault(place, place)
        return side

    def __init__(self, execution_id: str, graph: PipelineGraph, store: OutcomeStore) -> None:
        super().__init__(execution_id, graph, store)
        self._pipeline = graph
        self._entered: dict[bytes, Place] = {}

    async def took_up_behind(self, record: OutcomeRecord) -> bool:
        """Tell whether what follows an outcome of the other execution entered here."""
        if not self._entered:
            return False
        entered = self._entered.get(bytes.fromhex(record.origin_id))
        if entered is not None and entered[0] == record.route:
            stages = [adapter.stage_name for adapter in self._pipeline.stages(record.route)]
            here = stages.index(record.stage) if record.stage in stages else -1
            return stages.index(entered[1]) > here
        async for child in self.children(record):
            if bytes.fromhex(child.message.origin_id) in self._entered:
                return True
        return False


class ExecutionDiffs:
    """Compares executions by their records; only reads."""

    def __init__(self, executions: ExecutionService, storage: StorageProtocol) -> None:
        self._executions = executions
        self._store = OutcomeStore(storage)
        self._content = ContentDiff(self._store)

    async def compare(
        self, a: str, b: str, *, stage: str | None = None, content: bool = False, limit: int = 20
    ) -> ExecutionDifference:
        """Return how two executions (ids or tags) differ, at one stage or at all of them.

        At most `limit` differing messages are listed. Raises `ExecutionNotFoundError`,
        `StageNotFoundError`, `StageAmbiguousError`, and `ObjectDamagedError` for a record that cannot
        be read.
        """
        found = ExecutionDifference(
            await self._executions.stored(a), await self._executions.stored(b)
        )
        graphs = [
            PipelineGraph(snapshot_config(execution.config_snapshot))
            for execution in (found.a, found.b)
        ]
        sides = [
            await _Side.of(execution, graph, self._store)
            for execution, graph in zip((found.a, found.b), graphs, strict=True)
        ]
        alone: list[MessageDifference] = []
        count = 0
        for route, name in _places(graphs, stage):
            counts = StageDifference(route, name)
            async for difference in self._differences(found, sides, counts):
                count += 1
                listed = found.changes if difference.kind == "changed" else alone
                if len(listed) < limit:
                    text = await self._content.of(difference.a, difference.b) if content else None
                    listed.append(replace(difference, diff=text))
            if counts.same or counts.changed or counts.only_a or counts.only_b or counts.not_run:
                found.stages.append(counts)
        found.changes += alone[: limit - len(found.changes)]
        found.changes_left = count - len(found.changes)
        return found

    async def _differences(
        self, found: ExecutionDifference, sides: list[_Side], counts: StageDifference
    ) -> AsyncIterator[MessageDifference]:
        """Count the pairs of a stage, and yield those that differ."""
        route, stage = counts.route, counts.stage
        in_a, in_b = sides
        count_a, count_b = await in_a.count(route, stage), await in_b.count(route, stage)
        counts.not_run_in = _not_run_in(found, count_a, count_b)
        if counts.not_run_in is not None:
            counts.only_a, counts.only_b = count_a, count_b
            return
        async for a in in_a.of_stage(route, stage):
            b = await in_b.find(route, stage, a.origin_id)
            if b is None and await in_b.took_up_behind(a):
                counts.not_run += 1
                continue
            if b is None:
                counts.only_a += 1
                yield MessageDifference("only_a", route, stage, a.origin_id, a, None)
                continue
            counts.seconds_a += max(0.0, a.completed_at - a.started_at)
            counts.seconds_b += max(0.0, b.completed_at - b.started_at)
            if await self._same(a, b):
                counts.same += 1
            else:
                counts.changed += 1
                yield MessageDifference("changed", route, stage, a.origin_id, a, b)
        if counts.same + counts.changed == count_b:
            return
        async for b in in_b.of_stage(route, stage):
            if await in_a.find(route, stage, b.origin_id) is not None:
                continue
            if await in_a.took_up_behind(b):
                counts.not_run += 1
            else:
                counts.only_b += 1
                yield MessageDifference("only_b", route, stage, b.origin_id, None, b)

    async def _same(self, a: OutcomeRecord, b: OutcomeRecord) -> bool:
        """Tell whether two outcomes are the same: content, children and error, not times or versions."""
        if (a.outcome, a.output_hash) != (b.outcome, b.output_hash):
            return False
        if a.outcome == "failed":
            return bool(_error(a) == _error(b))
        if a.outcome == "fanned_out":
            if a.children_count != b.children_count:
                return False
            return await self._children(a) == await self._children(b)
        return True

    async def _children(self, record: OutcomeRecord) -> dict[str, str]:
        return {
            child.origin_id: child.input_hash
            async for part in self._store.children(record)
            for child in part
        }


def _places(graphs: list[PipelineGraph], stage: str | None) -> list[tuple[str, str]]:
    """Return the stages of both pipelines, A's first, or the one that is meant."""
    names = list(dict.fromkeys(name for graph in graphs for name in stage_names(graph)))
    if stage is not None:
        known = names
        names = [name for name in known if stage in {name, name.partition("/")[2]}]
        if not names:
            raise StageNotFoundError(stage, known, "the pipeline of either execution")
        if len(names) > 1:
            raise StageAmbiguousError(stage, names)
    places = [name.partition("/") for name in names]
    return [(route, stage) for route, _, stage in places]


def _not_run_in(found: ExecutionDifference, in_a: int, in_b: int) -> Literal["a", "b"] | None:
    """Return the replay that never came to a stage which the other one ran."""
    if in_a and not in_b and found.b.source == "replay":
        return "b"
    if in_b and not in_a and found.a.source == "replay":
        return "a"
    return None


def _error(record: OutcomeRecord) -> Any:
    error = record.error
    return None if error is None else msgspec.structs.astuple(error)[:2]


def _mean_ms(seconds: float, count: int) -> float | None:
    return None if count == 0 else seconds * 1000 / count
