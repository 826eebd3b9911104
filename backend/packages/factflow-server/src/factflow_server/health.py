"""How the server's parts are. Every part is asked, each for a short time only."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from factflow_engine.manager import OrchestratorManager
from factflow_execution.database_trouble import reason_of
from factflow_execution.execution_service import ExecutionService
from factflow_execution.lineage_filler import LineageFiller
from factflow_execution.workers import Workers
from factflow_foundation import keys
from factflow_foundation.clock import Clock
from factflow_infra.queue.brokers import broker_kind
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.writer import LineageService
from factflow_protocols.errors import FactflowError
from factflow_protocols.queue import QueueProtocol, QueueScope
from factflow_protocols.storage import StorageProtocol
from factflow_server.component import Component
from factflow_server.databases import Database
from factflow_server.embedded import DataDir
from factflow_server.settings import ServerSettings
from factflow_server.worker_report import workers_component

PATIENCE_SECONDS = 2.0
SHOWN_REASONS = 5

_SILENT = "look at the server's log, and at the disk: factflow system health --debug tells its room"
_HINTS = {
    "database": "messages go on, and ends are written when it answers; factflow system health --debug tells "
    "its trouble",
    "queue": "factflow system mq-diagnostic tells which step fails; " + _SILENT,
    "storage": "routes hold until it answers, and go on by themselves; " + _SILENT,
}
_BUCKET_HINT = (
    "routes hold until it answers, and go on by themselves; look at the network and that server"
)


class HealthService:
    """Asks database, storage, queue, lineage and executions how they are."""

    def __init__(
        self,
        *,
        settings: ServerSettings,
        data_dir: DataDir,
        clock: Clock,
        database: Database,
        storage: StorageProtocol,
        storage_place: Mapping[str, str],
        queue: QueueProtocol,
        lineage: LineageService,
        lineage_repository: PipelineLineageRepository,
        manager: OrchestratorManager,
        executions: ExecutionService,
        lineage_filler: LineageFiller,
        workers: Workers | None = None,
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._clock = clock
        self._database = database
        self._storage = storage
        self._storage_place = storage_place
        self._queue = queue
        self._lineage = lineage
        self._lineage_repository = lineage_repository
        self._manager = manager
        self._executions = executions
        self._lineage_filler = lineage_filler
        self._workers = workers

    async def check(self) -> list[Component]:
        """Return every component; never raises."""
        asked = await asyncio.gather(
            self._database_component(),
            self._queue_component(),
            self._storage_component(),
            self._lineage_component(),
        )
        now = self._clock.now()
        found = [*asked, self._orchestrator_component()]
        if self._workers is not None:
            needed = not self._settings.work
            found.append(await workers_component(self._workers, needed=needed))
        return [replace(component, checked_at=now) for component in found]

    async def _database_component(self) -> Component:
        """Ask for reading, and look at what waits to be written."""
        read = await _ask("database", self._ask_database)
        waiting = dict(self._executions.late_ends.unwritten)
        details = {**read.details, "kind": self._database.engine.dialect.name}
        if (url := self._settings.shown_database_url) is not None:
            details["url"] = url
        else:
            details["durability"] = self._settings.durability
        read = replace(read, details={**details, "final_statuses_waiting": len(waiting)})
        if self._database.lock is not None and self._database.lock.lost is not None:
            return replace(
                read,
                status="unhealthy",
                message=f"another server has taken the database: {self._database.lock.lost}",
                hint="stop one of them",
            )
        if read.status != "healthy" or not waiting:
            return read
        execution_id, reason = next(iter(waiting.items()))
        return replace(
            read,
            status="degraded",
            message=f"the final status of {len(waiting)} executions waits to be written: "
            f"{execution_id}: {reason}",
            hint="make room or the folder writable; they are written then, without a restart",
        )

    async def _queue_component(self) -> Component:
        answer = await _ask("queue", self._ask_queue)
        routes = [route for id_ in self._manager.running() for route in self._manager.runtime(id_)]
        url = self._settings.queue_url
        embedded = url is None
        return replace(
            answer,
            details={
                "kind": "embedded" if url is None else broker_kind(url.get_secret_value()),
                "durability": self._settings.durability if embedded else "fsync",
                "queues": len(routes),
                "subscriptions": sum(route.state != "stopped" for route in routes),
                "ready": sum(route.ready for route in routes),
                "in_flight": sum(route.in_flight for route in routes),
                "delayed": sum(route.delayed for route in routes),
            },
        )

    async def _storage_component(self) -> Component:
        endpoint = self._storage_place.get("endpoint")
        answer = await _ask("storage", self._ask_storage, of=endpoint)
        if endpoint and answer.hint == _HINTS["storage"]:
            answer = replace(answer, hint=_BUCKET_HINT)
        details: dict[str, int | float | str | bool | None] = {**self._storage_place}
        try:
            usage = await asyncio.to_thread(shutil.disk_usage, self._data_dir.root)
        except OSError:
            return replace(answer, details=details)
        details |= {"data_disk_total_bytes": usage.total, "data_disk_free_bytes": usage.free}
        return replace(answer, details=details)

    async def _ask_database(self) -> None:
        async with self._database.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def _ask_queue(self) -> None:
        await self._queue.progress(QueueScope("health"))

    async def _ask_lineage(self) -> None:
        await self._lineage_repository.counts("health")

    async def _ask_storage(self) -> None:
        await self._storage.exists(f"{keys.ROOT}/health")

    async def _lineage_component(self) -> Component:
        """Ask for reading, and look at what waits to be written; work goes on without either."""
        read = await _ask("lineage", self._ask_lineage)
        health = self._lineage.health()
        gaps = self._lineage.gaps()
        to_fill = self._lineage_filler.remaining
        message = f"{health.backlog} rows wait to be written"
        if not health.ok:
            why = f": {health.last_error}" if health.last_error else ""
            message += f", {health.dropped} were dropped{why}"
        if read.status != "healthy":
            message += f"; {read.message}"
        if to_fill:
            message += f"; rows of {to_fill} executions are made again from records"
        ok = health.ok and read.status == "healthy" and not to_fill
        return replace(
            read,
            status="healthy" if ok else "degraded",
            message=message,
            hint="" if ok else "messages go on; rows are written, or made again, by themselves",
            details={
                "writer_ok": health.ok,
                "backlog": health.backlog,
                "dropped": health.dropped,
                "gap_rows": sum(gaps.values()),
                "gap_executions": len(gaps),
                "executions_to_fill": to_fill,
            },
        )

    def _orchestrator_component(self) -> Component:
        running = self._manager.running()
        limit = self._settings.max_concurrent_executions
        message = f"{len(running)} of at most {limit} executions are running"
        held = [
            f"{execution_id}/{route_id}: {reason}"
            for execution_id, routes in self._manager.holding().items()
            for route_id, reason in routes.items()
        ]
        routes = [(id_, route) for id_ in running for route in self._manager.runtime(id_)]
        broken = [
            f"{id_}/{route.route_id}/{breaker.stage}: {breaker.last_error}"
            for id_, route in routes
            for breaker in route.breakers
        ]
        if held:
            shown = "; ".join(held[:SHOWN_REASONS])
            message += f"; {len(held)} routes hold until trouble is over: {shown}"
        if broken:
            shown = "; ".join(broken[:SHOWN_REASONS])
            message += f"; {len(broken)} circuit breakers are open: {shown}"
        stall = self._manager.last_stall
        return Component(
            "orchestrator",
            "degraded" if held or broken else "healthy",
            message,
            hint="they go on by themselves; see to what they wait for" if held or broken else "",
            latency_ms=0.0,
            details={
                "running_executions": len(running),
                "max_concurrent_executions": limit,
                "routes_running": sum(route.state == "running" for _, route in routes),
                "routes_paused": sum(route.state == "paused" for _, route in routes),
                "routes_held_back": sum(route.held_back is not None for _, route in routes),
                "routes_holding": len(held),
                "breakers_open": len(broken),
                "event_loop_stalls": self._manager.watch.stalls,
                "last_stall_stage": stall.stage if stall else None,
                "last_stall_seconds": round(stall.seconds, 3) if stall else None,
            },
        )


async def _ask(
    name: str, question: Callable[[], Awaitable[None]], *, of: str | None = None
) -> Component:
    began = time.perf_counter()
    message, hint = "answers", ""
    details: dict[str, int | float | str | bool | None] = {}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await question()
    except TimeoutError:
        message = f"no answer{f' from {of}' if of else ''} within {PATIENCE_SECONDS:g} s"
    except FactflowError as error:
        message, hint = error.message, error.hint
    except SQLAlchemyError as error:
        message = f"the database does not answer: {type(error).__name__}"
        details["trouble"] = reason_of(error)
    latency = round((time.perf_counter() - began) * 1000, 3)
    if message == "answers":
        return Component(name, "healthy", message, latency_ms=latency)
    return Component(
        name,
        "unhealthy",
        message,
        hint=hint or _HINTS.get(name, ""),
        latency_ms=latency,
        details=details,
    )
