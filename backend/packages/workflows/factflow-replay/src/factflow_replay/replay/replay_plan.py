"""One replay, worked out: everything is resolved, and its plan can be shown or written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.config.loader import config_hash
from factflow_engine.execution_spec import PlannedMessage
from factflow_engine.registry import AdapterRegistry
from factflow_execution.errors import ExecutionDeletedError
from factflow_execution.execution_deletions import Deletion, ExecutionDeletions
from factflow_execution.models import ExecutionDraft, PipelineExecution
from factflow_foundation import keys
from factflow_protocols.storage import StorageProtocol
from factflow_replay.replay import explanations
from factflow_replay.replay.config_difference import config_differences
from factflow_replay.replay.errors import ArtefactsMissingError
from factflow_replay.replay.lost_records import LostRecords
from factflow_replay.replay.message_filter import MessageFilter
from factflow_replay.replay.models import Entry, ReplayPlan, ReplayRequest
from factflow_replay.replay.plan import PlanDigest, PlanWriter
from factflow_replay.replay.planned_stages import planned_stages
from factflow_replay.replay.replayer import Replayer
from factflow_replay.replay.route_resolver import ReplayTarget
from factflow_replay.replay.shown_objects import ShownObjects
from factflow_replay.replay.source_view import SourceView

KEYS_KEPT = 1_000
CHECKS_AT_ONCE = 64
IDS_KEPT = 100
"""Ids a request named that are kept with the execution; the plan has them all."""


@dataclass(frozen=True, slots=True)
class PreparedReplay:
    """What a request came to mean. `ancestors` are what source and overlays were made from,
    `source_graph` is of the source's snapshot, `graph` of what the new execution runs, which `draft` has
    as text."""

    request: ReplayRequest
    source: PipelineExecution
    overlays: tuple[PipelineExecution, ...]
    draft: ExecutionDraft
    ancestors: tuple[str, ...]
    source_graph: PipelineGraph
    graph: PipelineGraph
    target: ReplayTarget | None
    view: SourceView
    shown: ShownObjects
    wanted: MessageFilter
    replayer: Replayer

    @property
    def reads(self) -> tuple[str, ...]:
        """The executions that messages of the plan may have their inputs in."""
        own = (one.execution_id for one in (self.source, *self.overlays))
        return tuple(dict.fromkeys([*own, *self.ancestors]))


class PlanMaker:
    """Runs a selection to its end, once, and puts the plan together."""

    def __init__(
        self,
        storage: StorageProtocol,
        registry: AdapterRegistry,
        lost: LostRecords,
        deletions: ExecutionDeletions,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._lost = lost
        self._deletions = deletions

    async def make(self, prepared: PreparedReplay, writer: PlanWriter | None = None) -> ReplayPlan:
        """Return the plan; with a `writer` its lines are stored as they come.

        Raises `ReplayEmptyError`, what the selection raises, `ExecutionDeletedError` when a message needs
        an artefact that was deleted, and, with a writer, `ArtefactsMissingError`.
        """
        gone = await self._deletions.find(prepared.reads)
        digest = PlanDigest()
        entries: dict[tuple[str, str], int] = {}
        missing = _Missing()
        async for window in _windows(prepared.replayer.messages()):
            _check_not_deleted(window, gone)
            for key in await self._missing(window, prepared.shown):
                missing.add(key)
            for message in window:
                place = (message.route, message.entry_stage)
                entries[place] = entries.get(place, 0) + 1
                line = digest.add(message)
                if writer is not None:
                    await writer.add(line)
        async for key in self._lost_records(prepared):
            missing.add(key)
        source_id = prepared.source.execution_id
        counts = prepared.replayer.counts
        if missing.count and (writer is not None or not digest.count):
            raise ArtefactsMissingError(list(missing.keys), missing.count)
        if not digest.count:
            if not await self._has_objects(source_id):
                raise explanations.gone(source_id)
            raise explanations.empty(counts, prepared.target, prepared.wanted, source_id)
        return await self._plan(prepared, digest, entries, missing)

    def _lost_records(self, prepared: PreparedReplay) -> AsyncIterator[str]:
        """Return the keys of records that should have been read; of named messages, all were found."""
        layers, target = prepared.view.layers, prepared.target
        if prepared.request.messages:
            layers = []
        if target is None or prepared.wanted.only_failed:
            return self._lost.failed(layers)
        return self._lost.at(layers, target.route, target.stage)

    async def _has_objects(self, execution_id: str) -> bool:
        async for _ in self._storage.list(keys.execution_prefix(execution_id), ordered=False):
            return True
        return False

    async def _missing(self, window: list[PlannedMessage], shown: ShownObjects) -> Sequence[str]:
        """Return the keys among a window's inputs that storage does not have."""
        await asyncio.sleep(0)
        wanted = dict.fromkeys(message.input_key for message in window)
        unseen = [key for key in wanted if key not in shown]
        return await self._storage.missing(unseen) if unseen else ()

    async def _plan(
        self,
        prepared: PreparedReplay,
        digest: PlanDigest,
        counted: dict[tuple[str, str], int],
        missing: _Missing,
    ) -> ReplayPlan:
        graph, target, draft = prepared.graph, prepared.target, prepared.draft
        entries = tuple(
            Entry(route, stage, graph.route(route).inbound.queue, count)
            for (route, stage), count in counted.items()
        )
        queues = {entry.queue for entry in entries}
        stages = await planned_stages(
            counted, graph, prepared.source_graph, prepared.view, self._registry
        )
        return ReplayPlan(
            from_execution_id=prepared.source.execution_id,
            from_stage=f"{target.route}/{target.stage}" if target else None,
            to_route=prepared.request.to_route,
            to_queue=_queue(target, queues),
            overlays=tuple(overlay.execution_id for overlay in prepared.overlays),
            messages=digest.count,
            plan_hash=digest.sha256,
            entries=entries,
            counts=prepared.replayer.counts,
            stages=tuple(stages),
            config_id=draft.config_id,
            config_name=draft.config_name,
            config_version=draft.config_version,
            config_hash=config_hash(draft.config_snapshot),
            source_config_hash=prepared.source.config_hash,
            differences=tuple(config_differences(prepared.source_graph.config, graph.config)),
            missing=tuple(missing.keys),
            missing_count=missing.count,
            note=explanations.note(prepared.replayer.counts, target),
        )


def _check_not_deleted(window: list[PlannedMessage], gone: Mapping[str, Deletion]) -> None:
    """Raise `ExecutionDeletedError` when a message's input went on purpose: it is not missing."""
    for message in window if gone else ():
        deletion = gone.get(keys.execution_of(message.input_key) or "")
        if deletion is not None:
            raise ExecutionDeletedError(
                f"{deletion.sentence}, and this replay needs {message.input_key}"
            )


class _Missing:
    """Keys of what storage lacks: the first `KEYS_KEPT` of them, and how many there are."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        self.count = 0

    def add(self, key: str) -> None:
        if key not in self.keys:
            self.count += 1
            if len(self.keys) < KEYS_KEPT:
                self.keys[key] = None


def _queue(target: ReplayTarget | None, queues: set[str]) -> str | None:
    """Return the queue that what the stage left enters by; the only one, when that is another."""
    if len(queues) == 1:
        return next(iter(queues))
    return target.to_queue if target is not None else None


async def _windows(messages: AsyncIterator[PlannedMessage]) -> AsyncIterator[list[PlannedMessage]]:
    window: list[PlannedMessage] = []
    async for message in messages:
        window.append(message)
        if len(window) == CHECKS_AT_ONCE:
            yield window
            window = []
    if window:
        yield window


def provenance(request: ReplayRequest, plan: ReplayPlan) -> dict[str, object]:
    """Return what an execution keeps of the replay it is: what was asked, and what was selected."""
    asked: dict[str, Any] = {
        "rerun": request.rerun,
        "only": request.only,
        "with": list(plan.overlays),
        "messages": list(request.messages[:IDS_KEPT]),
        "messages_count": len(request.messages),
        "where": list(request.where),
        "sample": request.sample,
        "set": request.overrides,
        "config_id": request.config_id,
        "loaded_code": request.loaded_code,
    }
    return {
        "from_execution_id": plan.from_execution_id,
        "from_stage": plan.from_stage,
        "to_route": plan.to_route,
        "to_queue": plan.to_queue,
        "config_hash": plan.source_config_hash,
        "new_config_hash": plan.config_hash,
        "selected": asdict(plan.counts),
        "planned_messages": plan.messages,
        "plan_hash": plan.plan_hash,
        "entries": [asdict(entry) for entry in plan.entries],
        **{name: value for name, value in asked.items() if value},
    }
