"""Real SQLite databases, and entries that need only say what matters to a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from factflow_lineage import (
    LineageService,
    PipelineLineageEntry,
    PipelineLineageRepository,
    create_schema,
)

MakeEntry = Callable[..., PipelineLineageEntry]


def _make_entry(name: str, **fields: Any) -> PipelineLineageEntry:
    values: dict[str, Any] = {
        "id": name,
        "execution_id": "exec",
        "route_id": "crawl",
        "stage": "fetch",
        "adapter": "web_scraper",
        "message_id": f"message-{name}",
        "origin_id": f"origin-{name}",
        "status": "completed",
        "started_at": 1000.0,
    }
    values |= fields
    if values["status"] in {"completed", "failed"}:
        values.setdefault("completed_at", values["started_at"] + 0.1)
        values.setdefault("duration_ms", 100.0)
        values.setdefault("outcome", "failed" if values["status"] == "failed" else "stored")
    return PipelineLineageEntry(**values)


@pytest.fixture
def make_entry() -> MakeEntry:
    """Make an entry; a name is enough."""
    return _make_entry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "lineage.db"


@pytest.fixture
async def open_engine(path: Path) -> AsyncIterator[Callable[[], AsyncEngine]]:
    """Open engines on the database file; they are disposed of after the test."""
    path.parent.mkdir()
    engines: list[AsyncEngine] = []

    def open_one() -> AsyncEngine:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"timeout": 0.02})
        engines.append(engine)
        return engine

    yield open_one
    for engine in engines:
        await engine.dispose()


@pytest.fixture
async def service(open_engine: Callable[[], AsyncEngine]) -> AsyncIterator[LineageService]:
    """A running writer."""
    engine = open_engine()
    await create_schema(engine)
    running = LineageService(engine, flush_interval=0.01)
    await running.start()
    yield running
    await running.close()


@pytest.fixture
def repository(open_engine: Callable[[], AsyncEngine]) -> PipelineLineageRepository:
    return PipelineLineageRepository(open_engine())
