"""Starts a new execution that continues from what another one stored. The source is only read."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.execution_spec import MessageSource
from factflow_engine.outcome_store import OutcomeStore
from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import ExecutionDraft, PipelineExecution
from factflow_protocols.storage import StorageProtocol
from factflow_replay.replay.models import (
    ReplayEmptyError,
    ReplayRequest,
    ReplayResult,
    SelectionCounts,
)
from factflow_replay.replay.plan import write_plan
from factflow_replay.replay.replayer import Replayer, Selection, require_artefacts
from factflow_replay.replay.route_resolver import ReplayTarget, RouteResolver
from factflow_replay.replay.source_records import SourceRecords


class DetachedReplayService:
    """Selects from the source's records, checks that every artefact is there, then launches."""

    def __init__(
        self,
        *,
        executions: ExecutionService,
        loader: PipelineConfigLoader,
        storage: StorageProtocol,
    ) -> None:
        self._executions = executions
        self._loader = loader
        self._storage = storage
        self._store = OutcomeStore(storage)

    async def replay(self, request: ReplayRequest) -> ReplayResult:
        """Start the replay and return what it publishes.

        Raises `ExecutionNotFoundError` for an unknown source, the errors of `models` for a request that
        cannot be done, and what `ExecutionService.launch` raises; no execution is left behind then.
        """
        source = await self._executions.get(request.from_execution_id)
        config = await asyncio.to_thread(
            self._loader.load, source.config_snapshot, source.config_name
        )
        graph = PipelineGraph(config)
        target = RouteResolver(graph).resolve(request.from_stage, request.to_route)
        records = SourceRecords(source.execution_id, graph, self._store)
        replayer = Replayer(records, graph, target, source_ended=source.ended)
        selection = await replayer.select()
        if not selection.messages:
            raise ReplayEmptyError(
                f"nothing to replay: {_why_empty(selection.counts, target)}",
                hint=f"factflow execution stats {source.execution_id}",
            )
        await require_artefacts(self._storage, selection.messages)
        execution = await self._launch(request, source, target, selection)
        return ReplayResult(
            execution=execution,
            from_execution_id=source.execution_id,
            from_stage=f"{target.route}/{target.stage}",
            to_route=request.to_route,
            to_queue=target.to_queue,
            objects_found=len(selection.messages),
            counts=selection.counts,
            note=_note(selection.counts, target),
        )

    async def _launch(
        self,
        request: ReplayRequest,
        source: PipelineExecution,
        target: ReplayTarget,
        selection: Selection,
    ) -> PipelineExecution:
        async def prepare(execution_id: str) -> MessageSource:
            return await write_plan(self._storage, execution_id, selection.messages)

        return await self._executions.launch(
            ExecutionDraft(
                config_id=source.config_id,
                config_name=source.config_name,
                config_version=source.config_version,
                config_snapshot=source.config_snapshot,
                tag=request.tag,
                metadata=request.metadata,
                source="replay",
                parent_execution_id=source.execution_id,
                replay_source={
                    "from_execution_id": source.execution_id,
                    "from_stage": f"{target.route}/{target.stage}",
                    "to_route": request.to_route,
                    "to_queue": target.to_queue,
                    "config_hash": source.config_hash,
                    "selected": asdict(selection.counts),
                    "planned_messages": len(selection.messages),
                },
                prepare=prepare,
                loaded_code=request.loaded_code,
            )
        )


def _note(counts: SelectionCounts, target: ReplayTarget) -> str:
    """Return what a person should know of a replay that starts."""
    parts = []
    if counts.after_stage:
        parts.append(f"{target.stage} is not run again for {counts.after_stage} messages")
    runs = counts.at_stage_failed + counts.at_stage_queued
    if runs:
        parts.append(f"it runs for {runs} that failed or were cut off there")
    if counts.filtered:
        parts.append(f"{counts.filtered} were filtered there and stay so")
    if counts.not_settled:
        parts.append(f"{counts.not_settled} are still under way in the source")
    if counts.without_artefact:
        parts.append(f"{counts.without_artefact} have no artefact of {target.stage} to send on")
    return "; ".join(parts)


def _why_empty(counts: SelectionCounts, target: ReplayTarget) -> str:
    reasons = [
        (counts.filtered, "were filtered there"),
        (counts.not_settled, "are still under way in the source"),
        (counts.covered, "are behind an earlier message of their path"),
        (counts.without_artefact, "failed there and left no artefact to send on"),
    ]
    found = [f"{count} messages {reason}" for count, reason in reasons if count]
    return " and ".join(found) or f"no message of the source came to {target.route}/{target.stage}"
