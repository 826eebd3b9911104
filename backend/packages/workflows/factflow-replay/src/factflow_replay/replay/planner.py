"""Works out what a request means: which executions are read, what the new one runs, where it enters."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.outcome_store import OutcomeStore
from factflow_execution.config_service import ConfigService
from factflow_execution.errors import ExecutionNotFoundError
from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import ExecutionDraft, ExecutionSummary, PipelineExecution
from factflow_execution.snapshot import snapshot_config
from factflow_protocols.storage import StorageProtocol
from factflow_replay.replay.errors import NotAReplayError, ReplayRefusedError
from factflow_replay.replay.execution_tree import ExecutionTrees
from factflow_replay.replay.message_filter import MessageFilter
from factflow_replay.replay.models import ReplayRequest
from factflow_replay.replay.overrides import with_overrides
from factflow_replay.replay.replay_plan import PreparedReplay
from factflow_replay.replay.replayer import Replayer, SourceState
from factflow_replay.replay.route_resolver import RouteResolver
from factflow_replay.replay.shown_objects import ShownObjects
from factflow_replay.replay.source_records import SourceRecords
from factflow_replay.replay.source_view import SourceView


class ReplayPlanner:
    """Resolves requests; only reads."""

    def __init__(
        self,
        *,
        executions: ExecutionService,
        configs: ConfigService,
        loader: PipelineConfigLoader,
        storage: StorageProtocol,
    ) -> None:
        self._executions = executions
        self._configs = configs
        self._loader = loader
        self._store = OutcomeStore(storage)

    async def prepare(self, request: ReplayRequest) -> PreparedReplay:
        """Return a request with every name resolved; what it selects has not been read yet.

        Raises `ReplayRefusedError` for a request that contradicts itself, `ExecutionNotFoundError`,
        `NotAReplayError`, `ConfigNotFoundError`, `ConfigInactiveError`, `ConfigurationError`, and the
        errors of names: `StageNotFoundError`, `StageAmbiguousError`, `RouteNotFoundError`.
        """
        _check(request)
        source = await self._executions.stored(request.from_execution_id)
        overlays = await self._overlays(source, request.overlays)
        draft = await self._draft(request, source)
        pipeline = await asyncio.to_thread(
            self._loader.load, draft.config_snapshot, draft.config_name
        )
        source_graph = PipelineGraph(snapshot_config(source.config_snapshot))
        graph = PipelineGraph(pipeline)
        named = f"config {draft.config_name!r}" if request.config_id else None
        resolver = RouteResolver(source_graph, graph, named)
        target = None
        if request.from_stage is not None:
            target = resolver.resolve(request.from_stage, request.to_route)
        shown = ShownObjects()
        layers = [
            SourceRecords(
                execution.execution_id,
                PipelineGraph(snapshot_config(execution.config_snapshot)),
                self._store,
                recovered=execution.recoveries > 0,
                shown=shown,
            )
            for execution in (source, *overlays)
        ]
        view = SourceView(layers, source_graph)
        wanted = MessageFilter(
            source_graph,
            view.execution_ids,
            only_failed=request.only == "failed",
            messages=request.messages,
            where=request.where,
        )
        replayer = Replayer(
            view,
            source=source_graph,
            pipeline=graph,
            resolver=resolver,
            target=target,
            wanted=wanted,
            state=_state((source, *overlays)),
            rerun=request.rerun,
            sample=request.sample,
        )
        return PreparedReplay(
            request=request,
            source=source,
            overlays=tuple(overlays),
            draft=draft,
            ancestors=await self._ancestors(source, *overlays),
            source_graph=source_graph,
            graph=graph,
            target=target,
            view=view,
            shown=shown,
            wanted=wanted,
            replayer=replayer,
        )

    async def _draft(self, request: ReplayRequest, source: PipelineExecution) -> ExecutionDraft:
        """Return the draft of the new execution, without its plan."""
        if request.config_id is not None:
            draft = await self._configs.draft(request.config_id)
        else:
            draft = ExecutionDraft(
                config_id=source.config_id,
                config_name=source.config_name,
                config_version=source.config_version,
                config_snapshot=source.config_snapshot,
            )
        if request.overrides:
            # Validated as it stands first: an override is laid over a pipeline that can be trusted.
            await asyncio.to_thread(self._loader.load, draft.config_snapshot, draft.config_name)
            text = await asyncio.to_thread(with_overrides, draft.config_snapshot, request.overrides)
            draft = replace(draft, config_snapshot=text)
        return replace(
            draft,
            tag=request.tag,
            metadata=request.metadata,
            source="replay",
            parent_execution_id=source.execution_id,
            loaded_code=request.loaded_code,
        )

    async def _overlays(
        self, source: PipelineExecution, names: tuple[str, ...]
    ) -> list[PipelineExecution]:
        """Return the replays that a request names, in its order."""
        found: list[PipelineExecution] = []
        for name in names:
            overlay = await self._executions.stored(name)
            if overlay.execution_id in {other.execution_id for other in found}:
                raise ReplayRefusedError(f"{name} is named twice to be laid over the source")
            if not await self._is_replay_of(overlay, source.execution_id):
                tree = await ExecutionTrees(self._executions).of(source)
                known = [
                    node.execution.tag or node.execution.execution_id
                    for node in tree.below(source.execution_id)
                ]
                raise NotAReplayError(name, source.execution_id, known)
            found.append(overlay)
        return found

    async def _ancestors(self, *executions: PipelineExecution) -> tuple[str, ...]:
        """Return the executions that some were made from, at first or second hand: what these still need
        may lie there."""
        found: dict[str, None] = {}
        waiting: list[ExecutionSummary] = list(executions)
        while waiting:
            execution = waiting.pop()
            parents = [
                execution.parent_execution_id,
                *(execution.replay_source or {}).get("with", ()),
            ]
            for parent in parents:
                if parent is not None and parent not in found:
                    found[parent] = None
                    with suppress(ExecutionNotFoundError):
                        waiting.append(await self._executions.get(parent))
        return tuple(found)

    async def _is_replay_of(self, execution: PipelineExecution, source_id: str) -> bool:
        """Tell whether an execution is a replay of the source, or of its replays."""
        parent = execution.parent_execution_id
        while parent is not None:
            if parent == source_id:
                return True
            parent = (await self._executions.get(parent)).parent_execution_id
        return False


def _check(request: ReplayRequest) -> None:
    """Raise `ReplayRefusedError` when parts of a request do not go together."""
    if request.from_stage is None and request.only is None:
        raise ReplayRefusedError(
            "from_stage is missing: say where to continue from",
            hint="name a stage with --from-stage, or take each failed message at its own stage with "
            "--only failed",
        )
    if request.from_stage is None and (request.rerun or request.to_route):
        raise ReplayRefusedError(
            f"{'--rerun' if request.rerun else '--to-route'} needs a stage",
            hint="name it with --from-stage",
        )
    if request.to_route is not None and request.rerun:
        raise ReplayRefusedError(
            "--rerun runs the stage in its own route, --to-route sends what it left elsewhere",
            hint="run it again first, then replay that execution with --to-route; to send the stage's "
            "inputs elsewhere, name the stage before it",
        )
    if request.to_route is not None and request.only == "failed":
        raise ReplayRefusedError(
            "failed messages have no artefact that --to-route could send on",
            hint="leave out --to-route to run them again where they failed",
        )
    if request.sample is not None and request.sample < 1:
        raise ReplayRefusedError("a sample is of at least 1 message")


def _state(executions: tuple[PipelineExecution, ...]) -> SourceState:
    ended = all(execution.ended for execution in executions)
    settled = all(
        execution.status == "completed"
        or (execution.status == "failed" and execution.error_info is None)
        for execution in executions
    )
    return SourceState(ended=ended, settled=ended and settled)
