"""Starts a new execution that continues from what another one stored. The source is only read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.execution_spec import MessageSource
from factflow_engine.registry import AdapterRegistry
from factflow_execution.config_service import ConfigService
from factflow_execution.execution_service import ExecutionService
from factflow_lineage.repository import PipelineLineageRepository
from factflow_protocols.storage import StorageProtocol
from factflow_replay.replay.lost_records import LostRecords
from factflow_replay.replay.models import ReplayPlan, ReplayRequest, ReplayResult
from factflow_replay.replay.plan import PlanWriter
from factflow_replay.replay.planner import ReplayPlanner
from factflow_replay.replay.replay_plan import PlanMaker, provenance


class DetachedReplayService:
    """Selects from the source's records, checks that every artefact is there, then launches.

    With `lineage` it also notices outcomes of which storage has lost every file.
    """

    def __init__(
        self,
        *,
        executions: ExecutionService,
        configs: ConfigService,
        loader: PipelineConfigLoader,
        registry: AdapterRegistry,
        storage: StorageProtocol,
        lineage: PipelineLineageRepository | None = None,
    ) -> None:
        self._executions = executions
        self._storage = storage
        self._planner = ReplayPlanner(
            executions=executions, configs=configs, loader=loader, storage=storage
        )
        self._maker = PlanMaker(storage, registry, LostRecords(lineage), executions.deletions)

    async def plan(self, request: ReplayRequest) -> ReplayPlan:
        """Return exactly what `replay` would do, without doing it.

        Raises what `replay` raises, but reports missing artefacts instead of raising; only a missing list
        of children is raised, as nobody can say then what is in it.
        """
        return await self._maker.make(await self._planner.prepare(request))

    async def replay(self, request: ReplayRequest) -> ReplayResult:
        """Start the replay and return what it publishes.

        Raises what `ReplayPlanner.prepare` and `PlanMaker.make` raise of a request that cannot be done,
        and what `ExecutionService.launch` raises; no execution is left behind then.
        """
        prepared = await self._planner.prepare(request)
        plans: list[ReplayPlan] = []
        replay_source: dict[str, Any] = {}

        async def prepare(execution_id: str) -> MessageSource:
            read = (prepared.source, *prepared.overlays)
            await self._executions.holds.take(
                execution_id,
                (one.execution_id for one in read),
                if_there=prepared.ancestors,
            )
            # The plan is written while it is selected, so what it says is known only now; the
            # execution's row, with `replay_source`, is written after this.
            writer = PlanWriter(self._storage, execution_id)
            plan = await self._maker.make(prepared, writer)
            replay_source.update(provenance(request, plan))
            plans.append(plan)
            return await writer.close()

        execution = await self._executions.launch(
            replace(prepared.draft, replay_source=replay_source, prepare=prepare)
        )
        return ReplayResult(execution=execution, plan=plans[0])
