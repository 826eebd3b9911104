"""Factflow on the work: all that a server consists of, in this process, without HTTP before it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cost import Cost, Meter

from factflow_execution.models import ExecutionDraft, PipelineExecution
from factflow_foundation import interpreter
from factflow_lineage.writer import LineageService
from factflow_server.container import Container
from factflow_server.settings import ServerSettings
from factflow_server.startup import running

ADAPTERS = str(Path(__file__).with_name("stage_adapters.py"))
WARM_UP = 10
"""Messages of a first execution, after which connections are open and the writer process is up."""
LONGEST = 3600.0

_forgetful = False


def forget_lineage() -> None:
    """Have lineage rows taken in this process, and nothing done with them.

    Replaced from outside: a switch in the service would be there for this benchmark alone.
    """
    global _forgetful  # noqa: PLW0603 - a process makes one run
    _forgetful = True

    def forget(*_: object) -> None:
        pass

    for method in ("begin", "record"):
        if not hasattr(LineageService, method):
            raise SystemExit(f"the lineage service has no {method}() any more")
        setattr(LineageService, method, forget)


@asynccontextmanager
async def warm_server(
    folder: Path, pipeline: Callable[[int], str]
) -> AsyncIterator[tuple[Container, list[PipelineExecution]]]:
    """Open everything on a folder and run a few messages through the pipeline."""
    settings = ServerSettings(data_dir=folder / "data", adapters=(ADAPTERS,))
    async with running(settings) as container:
        interpreter.settle()  # as a server does that has started
        yield container, [await run(container, pipeline(WARM_UP))]


async def run(container: Container, text: str) -> PipelineExecution:
    """Run a pipeline to its end."""
    draft = ExecutionDraft(None, "bench", None, text)
    return await end_of(container, await container.executions.launch(draft))


async def end_of(container: Container, execution: PipelineExecution) -> PipelineExecution:
    """Wait until an execution has ended; anything but `completed` ends the benchmark."""
    ended = await container.executions.waiter.wait(execution.execution_id, LONGEST)
    if ended.status != "completed":
        raise SystemExit(f"the benchmark's pipeline ended {ended.status}: {ended.error_info}")
    return ended


def run_pipeline(pipeline: Callable[[int], str], count: int, folder: Path) -> Cost:
    """Return what an execution of `count` messages cost, from its launch to its end."""

    async def timed() -> Cost:
        async with warm_server(folder, pipeline) as (container, _):
            meter = Meter()
            meter.start()
            await run(container, pipeline(count))
            return meter.stop()

    cost = asyncio.run(timed())
    rows, expected = lineage_rows(folder), 3 * (count + WARM_UP) + 2
    if rows != (0 if _forgetful else expected):
        raise SystemExit(f"lineage has {rows} rows for {expected} outcomes")
    return cost


def lineage_rows(folder: Path) -> int:
    """Return how many lineage rows a data folder has."""
    database = sqlite3.connect(folder / "data" / "lineage.db")
    try:
        return int(database.execute("SELECT count(*) FROM lineage_rows").fetchone()[0])
    finally:
        database.close()
