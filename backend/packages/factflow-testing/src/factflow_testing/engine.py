"""A whole engine in a folder: real queue, real storage, real lineage; no server, no HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from factflow_engine import payloads
from factflow_engine.config.loader import PipelineConfigLoader, config_hash
from factflow_engine.execution_spec import ExecutionSpec, FinalState, MessageSource
from factflow_engine.manager import OrchestratorManager
from factflow_engine.registry import AdapterRegistry
from factflow_foundation import ids, keys, records
from factflow_foundation.clock import Clock
from factflow_foundation.records import OutcomeRecord
from factflow_infra.database import sqlite_engine
from factflow_infra.queue.embedded import EmbeddedQueue
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.packed.provider import PackedStorageProvider
from factflow_lineage.filters import LineageFilter
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.tables import create_schema
from factflow_lineage.writer import LineageService
from factflow_protocols.storage import StorageProtocol

ADAPTERS = "factflow_testing.adapters"
BOOT = "this run of the machine"
OnFinished = Callable[[str, FinalState], Awaitable[bool]]


@dataclass(slots=True)
class EngineUnderTest:
    """The engine's parts, and what ended so far."""

    queue: EmbeddedQueue
    storage: FilesystemStorageProvider | PackedStorageProvider
    lineage: LineageService
    rows: PipelineLineageRepository
    registry: AdapterRegistry
    manager: OrchestratorManager
    finals: dict[str, FinalState] = field(default_factory=dict)
    ended: dict[str, asyncio.Event] = field(default_factory=dict)

    async def finished(self, execution_id: str, final: FinalState) -> None:
        self.finals[execution_id] = final
        self.ended[execution_id].set()

    async def start(
        self,
        yaml_text: str,
        init: dict[str, Any] | None = None,
        *,
        execution_id: str | None = None,
        source: MessageSource | None = None,
    ) -> str:
        """Start an execution of the pipeline and return its id."""
        config = PipelineConfigLoader(self.registry).load(yaml_text, "test.yaml")
        execution_id = execution_id or ids.execution_id()
        self.ended[execution_id] = asyncio.Event()
        if source is None:
            await self._store_init(execution_id, init or {})
        self.manager.reserve(execution_id)
        await self.manager.start(
            ExecutionSpec(
                execution_id=execution_id,
                config=config,
                config_hash=config_hash(yaml_text),
                source=source,
                is_replay=source is not None,
            )
        )
        return execution_id

    async def _store_init(self, execution_id: str, init: dict[str, Any]) -> None:
        data = json.dumps(init).encode()
        await self.storage.write(
            keys.init_key(execution_id),
            data,
            {"output_hash": payloads.digest(data), "content_type": payloads.JSON},
            extension=".json",
        )

    async def end(self, execution_id: str) -> FinalState:
        """Wait until an execution ended."""
        async with asyncio.timeout(60):
            await self.ended[execution_id].wait()
        return self.finals[execution_id]

    async def run(
        self, yaml_text: str, init: dict[str, Any] | None = None
    ) -> tuple[str, FinalState]:
        """Run a pipeline to its end."""
        execution_id = await self.start(yaml_text, init)
        return execution_id, await self.end(execution_id)

    async def records(self, execution_id: str, route: str, stage: str) -> list[OutcomeRecord]:
        """Return a stage's outcome records, in the order of their keys."""
        prefix = keys.stage_prefix(execution_id, route, stage)
        found = [item.key async for item in self.storage.list(prefix, records=True)]
        return [records.from_metadata(await self.storage.metadata(key)) for key in found]

    async def outputs(self, execution_id: str, route: str, stage: str) -> list[Any]:
        """Return the payloads a stage stored, in no particular order."""
        return [
            payloads.decode(await self.storage.read(record.output_key), record.content_type or "")
            for record in await self.records(execution_id, route, stage)
            if record.output_key
        ]

    async def lineage_rows(self, execution_id: str) -> list[PipelineLineageEntry]:
        """Return all lineage rows of an execution."""
        await self.lineage.flush()
        page = await self.rows.list(LineageFilter(execution_id=execution_id, limit=1000))
        return list(page.entries)


@asynccontextmanager
async def engine_in(
    folder: Path,
    *,
    limit: int = 12,
    clock: Clock | None = None,
    modules: tuple[str, ...] = (),
    on_finished: OnFinished | None = None,
    writer: Literal["thread", "process"] = "thread",
    packed: bool = False,
    max_artefact_bytes: int | None = None,
    max_metadata_bytes: int | None = None,
    wrap_storage: Callable[[StorageProtocol], StorageProtocol] = lambda store: store,
) -> AsyncIterator[EngineUnderTest]:
    """Open an engine on a folder; a second one on the same folder finds what the first left."""
    writing = sqlite_engine(folder / "lineage.db")
    await create_schema(writing)
    reading = sqlite_engine(folder / "lineage.db", read_only=True)
    lineage = LineageService(writing)
    await lineage.start()
    queue = EmbeddedQueue(folder / "queue.db", clock, boot=BOOT)
    provider = PackedStorageProvider if packed else FilesystemStorageProvider
    storage = provider(folder / "storage", writer=writer)
    storage.start_soon()
    registry = AdapterRegistry.discover([ADAPTERS, *modules])
    holder: list[EngineUnderTest] = []

    async def finished(execution_id: str, final: FinalState) -> bool:
        await holder[0].finished(execution_id, final)
        return True

    manager = OrchestratorManager(
        queue=queue,
        storage=wrap_storage(storage),
        lineage=lineage,
        registry=registry,
        on_finished=on_finished or finished,
        max_concurrent_executions=limit,
        max_artefact_bytes=max_artefact_bytes,
        max_metadata_bytes=max_metadata_bytes,
        clock=clock,
    )
    engine = EngineUnderTest(
        queue, storage, lineage, PipelineLineageRepository(reading), registry, manager
    )
    holder.append(engine)
    try:
        yield engine
    finally:
        await manager.stop(0.0)
        await lineage.close()
        await queue.close()
        await storage.close()
        await writing.dispose()
        await reading.dispose()
