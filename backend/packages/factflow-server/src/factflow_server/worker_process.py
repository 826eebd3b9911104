"""The worker process: takes messages of executions that servers own, and nothing else.

It needs the places that servers share (PostgreSQL, the broker, the store) and the adapters' packages.
It listens on no port and keeps nothing on its machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import ClassVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.message_metadata import MetadataLimit
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.registry import AdapterRegistry
from factflow_engine.route_context import EngineServices
from factflow_engine.run_gate import RunGate
from factflow_engine.stall_watch import StallWatch
from factflow_execution import schema as execution_schema
from factflow_execution.execution_events import ExecutionEvents
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.followed_execution import WorkerParts
from factflow_execution.news_of_others import SharedChanges
from factflow_execution.worker_service import WorkerService
from factflow_execution.workers import Worker, Workers
from factflow_foundation import interpreter, logs
from factflow_foundation.clock import SystemClock
from factflow_foundation.notifications import Notifications
from factflow_infra.schema import bring_up_to_date
from factflow_infra.storage.address import FolderAddress, parse_storage_uri
from factflow_infra.storage.commit_journal import JournalledStorage
from factflow_infra.storage.factory import create_storage_provider
from factflow_server.databases import (
    DatabaseUnusableError,
    open_lineage,
    open_notifications,
    where_of,
)
from factflow_server.embedded import DataDir
from factflow_server.queues import open_queue
from factflow_server.serving import Signals
from factflow_server.settings import ServerSettings, ServerStartError, hide_secrets
from factflow_server.tracing import open_tracing

EXIT_STOPPED_EARLY = 130

_log = logs.logger(__name__)


class WorkerSettingsError(ServerStartError):
    """Something that servers and workers share is not named, or cannot be shared."""

    code: ClassVar[str] = "worker_settings"


def work(settings: ServerSettings) -> int:
    """Work until SIGINT or SIGTERM and return the exit code. Raises what keeps it from starting."""
    check(settings)
    hide_secrets()
    logs.configure(settings.log_level)
    try:
        asyncio.run(_work(settings))
    except asyncio.CancelledError:
        return EXIT_STOPPED_EARLY
    return 0


def check(settings: ServerSettings) -> None:
    """Raise `WorkerSettingsError` unless all is named that a worker shares with servers."""
    needed = {
        "FACTFLOW_DATABASE_URL": settings.database_url,
        "FACTFLOW_QUEUE_URL": settings.queue_url,
        "FACTFLOW_STORAGE_URI": settings.storage_uri,
    }
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise WorkerSettingsError(
            f"a worker shares database, queue and storage with its servers; not named: {', '.join(missing)}",
            hint="give the values that the servers have, as variables or in factflow.toml",
        )
    address = parse_storage_uri(str(settings.storage_uri))
    if isinstance(address, FolderAddress) and address.kind == "packed":
        raise WorkerSettingsError(
            "packed storage is written by one process: workers cannot share it",
            hint="s3://BUCKET/PREFIX, or file://PATH in a folder that all of them have",
        )


async def _work(settings: ServerSettings) -> None:
    task = asyncio.current_task()
    stop = asyncio.Event()
    with Signals() as signals:
        signals.act = task.cancel if task else None
        async with _open(settings) as service:
            interpreter.settle()
            signals.act = stop.set
            routes = ", ".join(settings.routes) or "all routes"
            _say(f"Factflow worker {os.getpid()} takes messages of {routes}")
            await stop.wait()
            signals.act = task.cancel if task else None  # asked twice, it waits for nothing
            await service.stop(settings.shutdown_grace_seconds)


@contextlib.asynccontextmanager
async def _open(settings: ServerSettings) -> AsyncIterator[WorkerService]:
    """Open all that a worker works with, and begin; close it in reverse."""
    from factflow_infra.postgres import postgres_engine

    registry = AdapterRegistry.discover(settings.adapters)
    registry.all()
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    async with contextlib.AsyncExitStack() as stack:
        engine = postgres_engine(url, application_name="factflow worker")
        stack.push_async_callback(engine.dispose)
        try:
            await bring_up_to_date(engine, execution_schema)
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseUnusableError(where_of(settings), error) from error
        notifications = await open_notifications(settings, stack)
        service = await _join(settings, engine, registry, notifications, stack)
        await service.start()
        yield service


async def _join(
    settings: ServerSettings,
    engine: AsyncEngine,
    registry: AdapterRegistry,
    notifications: Notifications,
    stack: contextlib.AsyncExitStack,
) -> WorkerService:
    clock = SystemClock()
    storage = create_storage_provider(
        str(settings.storage_uri), durability=settings.durability, writer="process"
    )
    if settings.commit_journal is not None:
        storage = JournalledStorage(storage, settings.commit_journal)
    stack.push_async_callback(storage.close)
    nowhere = DataDir.at(settings.data_dir)  # named for what embedded servers keep; never made
    queue = await open_queue(settings, nowhere, clock, stack)
    changes = SharedChanges(notifications)  # whoever follows executions does so on a server
    lineage, _ = await open_lineage(settings, nowhere, changes, stack)
    tracer = await asyncio.to_thread(open_tracing, settings.otel, version("factflow-server"))
    if tracer is not None:
        stack.push_async_callback(asyncio.to_thread, tracer.close)
    services = EngineServices(
        queue=queue,
        store=OutcomeStore(storage, settings.max_artefact_bytes),
        metadata_limit=MetadataLimit(settings.max_metadata_bytes),
        lineage=lineage,
        clock=clock,
        watch=StallWatch(),
        gate=RunGate(),
        paused_routes=set(),
        tracer=tracer,
        served_routes=frozenset(settings.routes) or None,
    )
    host = socket.gethostname()
    worker = Worker(
        worker_id=f"{host[:32]}:{os.getpid()}:{secrets.token_hex(4)}",
        host=host,
        pid=os.getpid(),
        routes=settings.routes or None,
        concurrency=settings.concurrency,
    )
    parts = WorkerParts(
        worker_id=worker.worker_id,
        workers=Workers(engine, clock),
        repository=ExecutionRepository(engine, events=ExecutionEvents(engine, changes)),
        loader=PipelineConfigLoader(registry),
        registry=registry,
        services=services,
        concurrency=settings.concurrency,
        allow_private_networks=settings.allow_private_networks,
    )
    return WorkerService(parts, worker, notifications)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the one line on stdout that is promised
