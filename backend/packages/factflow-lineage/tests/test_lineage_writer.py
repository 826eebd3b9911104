"""Recording goes on whatever happens to the database, and rows arrive or are counted as a gap."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_lineage import (
    LineageFilter,
    LineageService,
    PipelineLineageEntry,
    PipelineLineageRepository,
    create_schema,
)
from factflow_testing.waiting import eventually

MakeEntry = Callable[..., PipelineLineageEntry]
OpenEngine = Callable[[], AsyncEngine]
Locking = Callable[[], contextlib.AbstractAsyncContextManager[None]]

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@contextlib.asynccontextmanager
async def _writer(engine: AsyncEngine, **options: Any) -> AsyncIterator[LineageService]:
    service = LineageService(engine, **options)
    try:
        yield service
    finally:
        await service.close(timeout=1)


async def _ids(repository: PipelineLineageRepository) -> set[str]:
    return {entry.id for entry in (await repository.list(LineageFilter(limit=1000))).entries}


async def test_rows_arrive_while_the_database_is_locked_for_a_time(
    locked: Locking,
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: MakeEntry,
) -> None:
    """Locked: recording goes on, flush says no, health says why; unlocked: all rows are there."""
    async with locked():
        for number in range(10):
            service.record(make_entry(f"row{number}"))
        await eventually(lambda: not service.health().ok)
        assert await service.flush("exec", timeout=0.05) is False
        health = service.health()
        assert (health.backlog, health.dropped) == (10, 0)
        assert " lock" in (health.last_error or "")
    assert await service.flush("exec", timeout=20)
    assert service.health().ok
    assert service.health().last_error is None
    assert await _ids(repository) == {f"row{number}" for number in range(10)}


@pytest.mark.parametrize(
    ("database_url", "broken", "working", "told"),
    [
        ("sqlite", "PRAGMA query_only=1", "PRAGMA query_only=0", "readonly"),
        ("sqlite", "PRAGMA max_page_count=1", "PRAGMA max_page_count=1000000", "full"),
        ("postgresql", "SET TRANSACTION READ ONLY", "SELECT 1", "read-only"),
    ],
    indirect=["database_url"],
)
async def test_rows_arrive_after_a_readonly_or_full_disk(
    open_engine: OpenEngine,
    repository: PipelineLineageRepository,
    make_entry: MakeEntry,
    broken: str,
    working: str,
    told: str,
) -> None:
    """A disk that is full or read-only keeps rows waiting, not messages; so does a server on standby."""
    engine = open_engine()
    await create_schema(engine)
    setting = {"value": broken}
    sa.event.listen(
        engine.sync_engine,
        "begin",
        lambda connection: connection.exec_driver_sql(setting["value"]),
    )
    async with _writer(engine, flush_interval=0.01) as service:
        await service.start()
        for number in range(300):
            service.record(make_entry(f"row{number}"))
        await eventually(lambda: told in (service.health().last_error or ""))
        setting["value"] = working
        assert await service.flush(timeout=20)
    assert len(await _ids(repository)) == 300


@on_sqlite
@pytest.mark.parametrize("journal", ["wal", "delete"])
async def test_a_deleted_database_is_made_anew_and_its_rows_are_a_gap(
    open_engine: OpenEngine, make_entry: MakeEntry, path: Path, journal: str
) -> None:
    """New rows go to a new file, not into the deleted one; the lost rows are counted as a gap."""
    engine = open_engine()
    sa.event.listen(
        engine.sync_engine,
        "connect",
        lambda connection, _: connection.execute(f"PRAGMA journal_mode={journal}"),
    )
    await create_schema(engine)
    async with _writer(engine, flush_interval=0.01) as service:
        await service.start()
        service.record(make_entry("before"))
        service.record(make_entry("running", status="processing"))
        assert await service.flush()
        for file in path.parent.iterdir():
            file.unlink()
        service.record(make_entry("after"))
        assert await service.flush("other", timeout=20)
        assert await service.flush("exec", timeout=20) is False
        assert service.gaps() == {"exec": 1}
        assert not service.health().ok
        assert await _ids(PipelineLineageRepository(open_engine())) == {"after"}

        assert service.take_gap("exec") == 1
        assert await service.rebuild([make_entry("before"), make_entry("after")]) == 2
        assert await service.flush("exec", timeout=20)
        assert service.health().ok
    assert await _ids(PipelineLineageRepository(open_engine())) == {"before", "after"}


@on_sqlite
async def test_rows_arrive_after_the_data_folder_was_away(
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: MakeEntry,
    path: Path,
) -> None:
    """An unmounted and remounted folder costs nothing."""
    away = path.parent.with_name("away")
    path.parent.rename(away)
    service.record(make_entry("row"))
    await eventually(lambda: not service.health().ok)
    away.rename(path.parent)
    assert await service.flush(timeout=20)
    assert await _ids(repository) == {"row"}


async def test_what_has_no_room_is_dropped_and_counted(
    open_engine: OpenEngine, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """The buffer is bounded; only committed rows leave a gap, and only with their execution."""
    async with _writer(open_engine(), flush_interval=0, batch_size=2, buffer_limit=3) as service:
        for number in range(5):
            service.record(make_entry(f"row{number}"))
        service.record(make_entry("running", status="processing"))
        service.record(make_entry("row0"))
        health = service.health()
        assert (health.ok, health.backlog, health.dropped) == (False, 3, 3)
        assert service.gaps() == {"exec": 2}
        await service.start()
        assert await service.flush("exec") is False
        assert await _ids(repository) == {"row0", "row1", "row2"}
        assert service.take_gap("exec") == 2
        assert await service.flush("exec")
        assert service.gaps() == {}


async def test_a_stage_that_ends_before_the_next_write_costs_one_row(
    open_engine: OpenEngine, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """The processing row still in the buffer gives its place to the committed one, in any order."""
    async with _writer(open_engine()) as service:
        service.record(make_entry("a", status="processing"))
        service.record(make_entry("a"))
        service.record(make_entry("a", status="processing", attempts=2))
        assert service.health().backlog == 1
        await service.start()
        assert await service.flush()
        assert (await repository.get("a")).status == "completed"


async def test_closing_writes_what_is_left(
    open_engine: OpenEngine, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """Close does not wait for the interval and loses nothing; afterwards rows are dropped, not raised."""
    async with _writer(open_engine(), flush_interval=3600, batch_size=10) as service:
        await service.start()
        for number in range(35):
            service.record(make_entry(f"row{number}"))
    assert len(await _ids(repository)) == 35
    assert service.gaps() == {}
    service.record(make_entry("late"))
    assert service.gaps() == {"exec": 1}


async def test_closing_over_a_locked_database_ends_and_counts_the_gap(
    locked: Locking, open_engine: OpenEngine, make_entry: MakeEntry
) -> None:
    """Shutdown is not held up by a database that does not come back."""
    engine = open_engine()
    await create_schema(engine)
    async with locked():
        async with _writer(engine, flush_interval=3600) as service:
            await service.start()
            service.record(make_entry("row"))
        assert service.gaps() == {"exec": 1}
        assert service.health().backlog == 0


async def test_a_refused_row_costs_only_itself(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """A value no database takes is singled out, and not told on; the rest of its batch arrives."""
    service.record(make_entry("standing", execution_id="other", status="processing"))
    assert await service.flush(timeout=30)
    for number in range(20):
        service.record(make_entry(f"row{number}"))
    service.record(make_entry("culprit", execution_id="other", route_id=None))
    service.record(make_entry("too large", execution_id="other", attempts=2**70))
    assert await service.flush("exec", timeout=30)
    assert service.gaps() == {"other": 2}
    service.record(make_entry("standing", execution_id="other", output_count=2**70))
    assert await service.flush("other", timeout=30) is False
    assert service.gaps() == {"other": 3}
    assert service.health().ok is False
    assert str(2**70) not in (service.health().last_error or "")
    assert len(await _ids(repository)) == 21


@pytest.mark.parametrize("nonsense", [None, "row", object()])
async def test_recording_nonsense_raises_nothing(service: LineageService, nonsense: Any) -> None:
    """Not even a caller's mistake may stop a message."""
    service.record(nonsense)
    assert service.health().dropped == 1


@pytest.mark.parametrize(
    "metadata",
    [
        {"title": "nul \0 byte", "n": 1},
        {"title": "half \ud800 surrogate"},
        {"score": math.nan, "other": math.inf},
        {"when": {1, 2}},
        {"deep": {"er": [object()]}},
    ],
)
async def test_odd_metadata_is_stored_as_json_all_databases_take(
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: MakeEntry,
    metadata: dict[str, Any],
) -> None:
    """Crawled text holds anything; it must neither be refused nor break a later search."""
    service.record(make_entry("row", metadata=metadata))
    assert await service.flush()
    found = await repository.list(LineageFilter(title=""))
    assert found.total == ("title" in metadata)
    stored = (await repository.get("row")).metadata
    assert list(stored) == list(metadata)
    assert "\0" not in stored.get("title", "")


async def test_rebuilding_waits_for_room(
    open_engine: OpenEngine, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """Many more rows than the buffer holds are rebuilt without dropping one."""
    async with _writer(
        open_engine(), flush_interval=3600, batch_size=7, buffer_limit=20
    ) as service:
        await service.start()
        assert await service.rebuild(make_entry(f"row{number}") for number in range(200)) == 200
        assert await service.flush()
        assert len(await _ids(repository)) == 200


async def test_deleting_an_execution_leaves_the_others_alone(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    """Rows, counters and what is still buffered go; other executions keep theirs."""
    for number in range(50):
        service.record(make_entry(f"row{number}"))
        service.record(make_entry(f"other{number}", execution_id="other"))
    assert await service.flush()
    service.record(make_entry("buffered"))
    assert await service.delete_execution("exec") == 50
    assert await service.flush()
    assert await repository.stats("exec") == ()
    assert (await repository.list(LineageFilter(execution_id="exec"))).entries == ()
    assert (await repository.counts("other")).total == 50
    assert len(await _ids(repository)) == 50


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"buffer_limit": 5}, {"flush_interval": -1}]
)
async def test_impossible_settings_are_refused(
    open_engine: OpenEngine, options: dict[str, Any]
) -> None:
    """A mistake in the settings shows at the start."""
    with pytest.raises(ValueError, match="need flush_interval"):
        LineageService(open_engine(), **options)


async def test_a_stage_that_lasts_shows_as_in_progress_and_a_short_one_only_by_its_end(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    made: list[str] = []

    def beginning(name: str) -> Callable[[], PipelineLineageEntry]:
        def make() -> PipelineLineageEntry:
            made.append(name)
            return make_entry(name, status="processing", outcome=None)

        return make

    service.begin("long", beginning("long"))
    service.begin("short", beginning("short"))
    service.record(make_entry("short"))

    async def statuses() -> dict[str, str]:
        entries = (await repository.list(LineageFilter())).entries
        return {entry.id: entry.status for entry in entries}

    async def both_are_there() -> bool:
        return len(await statuses()) == 2

    await eventually(both_are_there)
    assert await statuses() == {"long": "processing", "short": "completed"}
    service.record(make_entry("long"))
    assert await service.flush()
    assert await statuses() == {"long": "completed", "short": "completed"}
    assert made == ["long"]


async def test_what_has_begun_is_there_for_whoever_asks_for_a_flush(
    service: LineageService, repository: PipelineLineageRepository, make_entry: MakeEntry
) -> None:
    service.begin("begun", lambda: make_entry("begun", status="processing"))
    assert await service.flush("exec")
    assert await _ids(repository) == {"begun"}
