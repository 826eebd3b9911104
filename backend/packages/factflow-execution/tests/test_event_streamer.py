"""A stream of an execution's events tells each of them once, whatever is written while it reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.database_reads import DatabaseReads, Work
from factflow_execution.execution_event_streamer import ExecutionEventStreamer
from factflow_execution.execution_events import END, Event, ExecutionEvents
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.models import PipelineExecution
from factflow_execution.progress import ProgressService
from factflow_execution.runtimes import Runtimes
from factflow_foundation.changes import Changes
from factflow_testing.platform import platform_in

T = TypeVar("T")


class InterruptedReads(DatabaseReads):
    """Does something once, behind the next read."""

    then: Callable[[], Awaitable[object]] | None = None

    async def run(self, work: Work[T]) -> T:
        found = await super().run(work)
        then, self.then = self.then, None
        if then is not None:
            await then()
        return found


async def test_an_end_that_is_written_between_two_reads_is_told_once(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    changes, reads = Changes(), InterruptedReads(engine)
    events = ExecutionEvents(engine, changes)
    repository = ExecutionRepository(engine, reads, events)
    await repository.insert(
        PipelineExecution(
            execution_id="execution-1",
            config_id=None,
            config_name="pipeline",
            config_version=None,
            config_hash="1" * 64,
            config_snapshot="routes: {}\n",
            status="running",
            started_at=1.0,
        )
    )
    (tmp_path / "another").mkdir()
    async with platform_in(tmp_path / "another") as platform:
        platform.executions.ends._repository = repository
        progress = ProgressService(platform.engine.rows, Runtimes(platform.engine.manager))
        streamer = ExecutionEventStreamer(platform.executions, events, progress, changes)
        pages = await streamer.open("execution-1", None)
        assert pages is not None
        end = Event(END, 2.0, {"status": "completed"})
        reads.then = lambda: repository.move("execution-1", "completed", end, completed_at=2.0)
        told = [event.name async for page in pages for event in page]
    assert [name for name in told if name != "progress"] == ["started", "end"]
