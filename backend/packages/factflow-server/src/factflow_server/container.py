"""The composition root: the one place that names concrete providers and joins everything.

Opened in the order things depend on each other, closed in the reverse. `stop` ends the executions
first, while the server still answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import version as distribution_version

from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.execution_spec import FinalState
from factflow_engine.manager import OrchestratorManager
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.registry import AdapterRegistry
from factflow_execution.config_repository import ConfigRepository
from factflow_execution.config_service import ConfigService
from factflow_execution.execution_deleter import ExecutionDeleter
from factflow_execution.execution_deletions import ExecutionDeletions
from factflow_execution.execution_event_streamer import ExecutionEventStreamer
from factflow_execution.execution_events import ExecutionEvents
from factflow_execution.execution_holds import ExecutionHolds
from factflow_execution.execution_leases import ExecutionLeases
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.execution_service import ExecutionService
from factflow_execution.execution_usages import ExecutionUsages
from factflow_execution.lease_keeper import LeaseKeeper
from factflow_execution.left_queues import LeftQueues
from factflow_execution.lineage_audit import LineageAudit
from factflow_execution.lineage_filler import LineageFiller
from factflow_execution.news_of_others import NewsOfOthers, SharedChanges
from factflow_execution.others_at_work import OthersAtWork
from factflow_execution.progress import ProgressService
from factflow_execution.route_metrics import RouteMetricsService
from factflow_execution.route_pauses import RoutePauses
from factflow_execution.runtimes import OtherServers, Runtimes
from factflow_execution.server_questions import ServerQuestions
from factflow_execution.storage_event_streamer import StorageEventStreamer
from factflow_execution.system_metrics import SystemMetricsService
from factflow_execution.usage_counter import UsageCounter
from factflow_execution.why.gathering import FactGatherer
from factflow_execution.why.service import WhyService
from factflow_execution.workers import Workers
from factflow_foundation import logs
from factflow_foundation.changes import Changes
from factflow_foundation.clock import Clock, SystemClock
from factflow_foundation.notifications import Notifications
from factflow_infra.storage.address import BucketAddress, FolderAddress, StorageAddress
from factflow_infra.storage.commit_journal import JournalledStorage
from factflow_infra.storage.data_lock import DataFolderLock
from factflow_infra.storage.factory import create_storage_provider
from factflow_infra.storage.s3.endpoint import endpoint_of, shown_endpoint
from factflow_lineage.repository import PipelineLineageRepository
from factflow_protocols.storage import StorageProtocol
from factflow_replay.recovery.manager import RecoveryManager
from factflow_replay.replay.detached_replay_service import DetachedReplayService
from factflow_server.archive_jobs import ArchiveJobs
from factflow_server.databases import open_database, open_lineage, open_notifications
from factflow_server.embedded import DataDir
from factflow_server.health import HealthService
from factflow_server.queue_diagnostic import QueueDiagnostic
from factflow_server.queues import open_queue
from factflow_server.settings import ServerSettings
from factflow_server.storage_choice import choose_storage, note_storage
from factflow_server.storage_report import StorageReports
from factflow_server.tracing import open_tracing

_log = logs.logger(__name__)


@dataclass(slots=True)
class Container:
    """All that endpoints use."""

    settings: ServerSettings
    data_dir: DataDir
    clock: Clock
    started_at: float
    version: str
    storage: StorageProtocol
    lineage_repository: PipelineLineageRepository
    registry: AdapterRegistry
    loader: PipelineConfigLoader
    manager: OrchestratorManager
    configs: ConfigService
    executions: ExecutionService
    pauses: RoutePauses
    progress: ProgressService
    health: HealthService
    metrics: SystemMetricsService
    route_metrics: RouteMetricsService
    queue_diagnostic: QueueDiagnostic
    replay: DetachedReplayService
    recovery: RecoveryManager
    lineage_filler: LineageFiller
    changes: Changes
    notifications: Notifications
    event_streams: ExecutionEventStreamer
    storage_streams: StorageEventStreamer
    lineage_audit: LineageAudit
    deleter: ExecutionDeleter
    storage_reports: StorageReports
    archives: ArchiveJobs
    why: WhyService
    workers: Workers | None
    others: OthersAtWork | None
    leases: LeaseKeeper | None
    server_id: str
    runtimes: Runtimes
    news: NewsOfOthers | None

    @property
    def uptime_seconds(self) -> float:
        """Return for how long the server has been open; 0 when the clock was set back."""
        return round(max(0.0, self.clock.now() - self.started_at), 3)

    async def stop(self, grace_seconds: float) -> None:
        """Start nothing new and end what runs; unfinished executions become `interrupted`."""
        await self.recovery.close()
        if self.others is not None:
            await self.others.close()
        await self.deleter.close()
        await self.storage_reports.close()
        await self.archives.close()
        await self.lineage_filler.close()
        await self.executions.close(grace_seconds)
        await self.manager.stop(grace_seconds)
        if self.leases is not None:
            await self.leases.close()
        if self.news is not None:
            await self.news.close()
        self.executions.waiter.close()
        self.changes.close()


@contextlib.asynccontextmanager
async def open_container(settings: ServerSettings) -> AsyncIterator[Container]:
    """Open everything in the data folder; close it in reverse, whatever happened meanwhile.

    Raises `DataFolderLockedError`, `DataFolderUnwritableError`, `DatabaseUnusableError`,
    `DatabaseNewerError`, `DatabaseLockedError`, `StorageChangedError`, and what registry, storage and
    queue say of what they cannot use.
    """
    async with contextlib.AsyncExitStack() as stack:
        data_dir = DataDir.at(settings.data_dir)
        lock = stack.enter_context(DataFolderLock(data_dir.root))
        yield await _join(settings, data_dir, lock, stack)


async def _join(
    settings: ServerSettings,
    data_dir: DataDir,
    lock: DataFolderLock,
    stack: contextlib.AsyncExitStack,
) -> Container:
    clock = SystemClock()
    registry = AdapterRegistry.discover(settings.adapters)
    registry.all()  # imports happen here, once, and not under a request
    loader = PipelineConfigLoader(registry)
    opened = await open_database(settings, data_dir, stack)
    database, reads = opened.engine, opened.reads
    notifications = await open_notifications(settings, stack)
    address = choose_storage(data_dir, settings.storage_uri)
    storage = create_storage_provider(
        address,
        durability=settings.durability,
        writer="process",
        keep_open=[lock.fileno()],
    )
    note_storage(data_dir, address)
    if settings.commit_journal is not None:
        storage = JournalledStorage(storage, settings.commit_journal)
    stack.push_async_callback(storage.close)
    queue = await open_queue(settings, data_dir, clock, stack)
    changes = SharedChanges(notifications) if settings.shares_work else Changes()
    lineage, lineage_repository = await open_lineage(settings, data_dir, changes, stack)

    version = distribution_version("factflow-server")
    tracer = await asyncio.to_thread(open_tracing, settings.otel, version)
    if tracer is not None:
        stack.push_async_callback(asyncio.to_thread, tracer.close)
    events = ExecutionEvents(database, changes, notifications)
    repository = ExecutionRepository(database, reads, events)
    deletions = ExecutionDeletions(database, clock, reads)
    usages = ExecutionUsages(database, clock)

    async def on_finished(execution_id: str, final: FinalState) -> bool:
        is_ours = await executions.finished(execution_id, final)
        if is_ours and tracer is not None and final.status != "interrupted":
            began = (await executions.get(execution_id)).started_at
            tracer.execution_ended(execution_id, final.status, began, clock.now())
        return is_ours

    workers = Workers(database, clock) if settings.shares_work else None
    server_id = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
    leases = None
    if settings.shares_work:
        owned = ExecutionLeases(database, server_id, settings.lease_seconds, clock)
        leases = LeaseKeeper(owned, settings.lease_seconds, notifications)
    others = (
        None
        if workers is None or leases is None
        else OthersAtWork(workers, repository, lineage, notifications, leases)
    )
    manager = OrchestratorManager(
        queue=queue,
        storage=storage,
        lineage=lineage,
        registry=registry,
        on_finished=on_finished,
        max_concurrent_executions=settings.max_concurrent_executions,
        max_artefact_bytes=settings.max_artefact_bytes,
        max_metadata_bytes=settings.max_metadata_bytes,
        allow_private_networks=settings.allow_private_networks,
        clock=clock,
        tracer=tracer,
        served_routes=None if settings.work else frozenset(),
        others=others,
    )
    executions = ExecutionService(
        repository=repository,
        loader=loader,
        registry=registry,
        manager=manager,
        storage=storage,
        holds=ExecutionHolds(database, clock, reads),
        max_init_bytes=settings.max_init_bytes,
        deletions=deletions,
        clock=clock,
        leases=leases,
    )
    questions = ServerQuestions(database, server_id, notifications, clock)
    stack.push_async_callback(questions.close)
    runtimes = Runtimes(
        manager, None if leases is None else OtherServers(repository, leases, questions)
    )
    progress = ProgressService(lineage_repository, runtimes)
    pauses = RoutePauses(
        database, manager, clock, events, notifications=notifications, runtimes=runtimes
    )
    stack.push_async_callback(pauses.close)
    await pauses.load()
    config_repository = ConfigRepository(database, reads)
    configs = ConfigService(config_repository, loader, clock)
    lineage_filler = LineageFiller(
        repository=repository,
        lineage=lineage,
        store=OutcomeStore(storage),
        manager=manager,
        deletions=deletions,
        leases=leases,
    )
    recovery = RecoveryManager(executions, storage, LeftQueues(repository, manager))
    return Container(
        settings=settings,
        data_dir=data_dir,
        clock=clock,
        started_at=clock.now(),
        version=version,
        storage=storage,
        registry=registry,
        lineage_repository=lineage_repository,
        manager=manager,
        configs=configs,
        loader=loader,
        executions=executions,
        pauses=pauses,
        progress=progress,
        metrics=SystemMetricsService(repository, manager, lineage),
        route_metrics=RouteMetricsService(
            executions=executions,
            repository=repository,
            configs=config_repository,
            runtimes=runtimes,
            progress=progress,
            clock=clock,
        ),
        queue_diagnostic=QueueDiagnostic(queue, runtimes, leases),
        health=HealthService(
            settings=settings,
            data_dir=data_dir,
            clock=clock,
            database=opened,
            storage=storage,
            storage_place=_storage_place(address),
            queue=queue,
            lineage=lineage,
            lineage_repository=lineage_repository,
            manager=manager,
            executions=executions,
            lineage_filler=lineage_filler,
            workers=workers,
        ),
        workers=workers,
        others=others,
        leases=leases,
        server_id=server_id,
        news=None
        if leases is None
        else NewsOfOthers(notifications, changes, executions, repository, manager),
        runtimes=runtimes,
        replay=DetachedReplayService(
            executions=executions,
            configs=configs,
            loader=loader,
            registry=registry,
            storage=storage,
            lineage=lineage_repository,
        ),
        recovery=recovery,
        lineage_filler=lineage_filler,
        changes=changes,
        notifications=notifications,
        event_streams=ExecutionEventStreamer(executions, events, progress, changes),
        storage_streams=StorageEventStreamer(executions, lineage, lineage_repository),
        why=WhyService(
            FactGatherer(
                executions=executions,
                manager=manager,
                pauses=pauses,
                lineage=lineage_repository,
                queue=queue,
                store=OutcomeStore(storage),
                clock=clock,
                put_off=recovery.put_off,
                workers=workers,
            ),
            runtimes,
        ),
        lineage_audit=LineageAudit(
            repository=repository,
            rows=lineage_repository,
            lineage=lineage,
            store=OutcomeStore(storage),
            manager=manager,
            filler=lineage_filler,
            deletions=deletions,
        ),
        deleter=ExecutionDeleter(
            executions=executions,
            deletions=deletions,
            storage=storage,
            lineage=lineage,
            clock=clock,
            leases=leases,
        ),
        archives=ArchiveJobs(storage, data_dir.archives),
        storage_reports=_storage_reports(
            address, data_dir, UsageCounter(usages, storage, clock), executions, clock
        ),
    )


def _storage_reports(
    address: StorageAddress,
    data_dir: DataDir,
    counter: UsageCounter,
    executions: ExecutionService,
    clock: Clock,
) -> StorageReports:
    return StorageReports(
        kind=address.kind,
        root=address.folder if isinstance(address, FolderAddress) else data_dir.root,
        data_dir=data_dir,
        usages=counter.usages,
        counter=counter,
        holds=executions.holds,
        deletions=executions.deletions,
        clock=clock,
    )


def _storage_place(address: StorageAddress) -> dict[str, str]:
    """Return what people are told about where the store is; a bucket lies elsewhere than it seems."""
    if not isinstance(address, BucketAddress):
        return {"kind": address.kind}
    endpoint = shown_endpoint(endpoint_of(os.environ))
    return {"kind": address.kind, "uri": address.uri, "endpoint": endpoint}
