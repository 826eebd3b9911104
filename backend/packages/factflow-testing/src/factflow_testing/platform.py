"""Everything but HTTP in a folder: engine, stored executions, replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.execution_spec import FinalState
from factflow_engine.outcome_store import OutcomeStore
from factflow_execution.config_repository import ConfigRepository
from factflow_execution.config_service import ConfigService
from factflow_execution.execution_deleter import ExecutionDeleter
from factflow_execution.execution_deletions import ExecutionDeletions
from factflow_execution.execution_holds import ExecutionHolds
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.execution_service import ExecutionService
from factflow_execution.left_queues import LeftQueues
from factflow_execution.lineage_filler import LineageFiller
from factflow_execution.models import ExecutionDraft, PipelineExecution
from factflow_execution.route_pauses import RoutePauses
from factflow_execution.why.gathering import FactGatherer
from factflow_execution.why.service import WhyService
from factflow_foundation.clock import SystemClock
from factflow_protocols.storage import StorageProtocol
from factflow_replay.recovery.manager import RecoveryManager
from factflow_replay.replay.detached_replay_service import DetachedReplayService
from factflow_replay.replay.models import ReplayRequest, ReplayResult
from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.execution_database import execution_database


@dataclass(slots=True)
class Platform:
    """The services a server would hold."""

    engine: EngineUnderTest
    executions: ExecutionService
    configs: ConfigService
    replays: DetachedReplayService
    recovery: RecoveryManager
    filler: LineageFiller
    pauses: RoutePauses
    deleter: ExecutionDeleter
    why: WhyService

    async def start(self, yaml_text: str, init: dict[str, Any] | None = None) -> PipelineExecution:
        """Start a fresh execution."""
        draft = ExecutionDraft(None, "test", None, yaml_text, init=init)
        return await self.executions.launch(draft)

    async def end(self, execution_id: str) -> PipelineExecution:
        """Wait until an execution ended and return it."""
        async with asyncio.timeout(60):
            await self.executions.waiter.wait(execution_id, 60)
        return await self.executions.get(execution_id)

    async def run(self, yaml_text: str, init: dict[str, Any] | None = None) -> PipelineExecution:
        """Run a fresh execution to its end."""
        return await self.end((await self.start(yaml_text, init)).execution_id)

    async def replay(
        self, source: str, from_stage: str, to_route: str | None = None
    ) -> tuple[ReplayResult, PipelineExecution]:
        """Replay and wait for the end."""
        result = await self.replays.replay(ReplayRequest(source, from_stage, to_route))
        return result, await self.end(result.execution.execution_id)


@asynccontextmanager
async def platform_in(
    folder: Path,
    *,
    modules: tuple[str, ...] = (),
    limit: int = 12,
    wrap_storage: Callable[[StorageProtocol], StorageProtocol] = lambda store: store,
    max_init_bytes: int | None = None,
) -> AsyncIterator[Platform]:
    """Open a platform on a folder."""
    services: list[ExecutionService] = []

    async def finished(execution_id: str, final: FinalState) -> bool:
        return await services[0].finished(execution_id, final)

    database = await execution_database(folder)
    try:
        async with engine_in(
            folder,
            modules=modules,
            limit=limit,
            wrap_storage=wrap_storage,
            on_finished=finished,
        ) as engine:
            repository = ExecutionRepository(database)
            deletions = ExecutionDeletions(database)
            loader = PipelineConfigLoader(engine.registry)
            executions = ExecutionService(
                repository=repository,
                loader=loader,
                registry=engine.registry,
                manager=engine.manager,
                storage=engine.storage,
                holds=ExecutionHolds(database),
                max_init_bytes=max_init_bytes,
                deletions=deletions,
            )
            services.append(executions)
            configs = ConfigService(ConfigRepository(database), loader)
            replays = DetachedReplayService(
                executions=executions,
                configs=configs,
                loader=loader,
                registry=engine.registry,
                storage=engine.storage,
                lineage=engine.rows,
            )
            left_queues = LeftQueues(repository, engine.manager)
            recovery = RecoveryManager(executions, engine.storage, left_queues)
            filler = LineageFiller(
                repository=repository,
                lineage=engine.lineage,
                store=OutcomeStore(engine.storage),
                manager=engine.manager,
                deletions=deletions,
            )
            deleter = ExecutionDeleter(
                executions=executions,
                deletions=deletions,
                storage=engine.storage,
                lineage=engine.lineage,
            )
            pauses = RoutePauses(database, engine.manager)
            await pauses.load()
            why = WhyService(
                FactGatherer(
                    executions=executions,
                    manager=engine.manager,
                    pauses=pauses,
                    lineage=engine.rows,
                    queue=engine.queue,
                    store=OutcomeStore(engine.storage),
                    clock=SystemClock(),
                    put_off=recovery.put_off,
                )
            )
            await executions.mark_orphans()
            await executions.holds.release_dead()
            filler.start()
            deleter.start()
            recovery.start()
            try:
                yield Platform(
                    engine, executions, configs, replays, recovery, filler, pauses, deleter, why
                )
            finally:
                await pauses.close()
                await deleter.close()
                await recovery.close()
                await filler.close()
                await executions.close()
                await engine.manager.stop(0.0)
    finally:
        await database.dispose()
