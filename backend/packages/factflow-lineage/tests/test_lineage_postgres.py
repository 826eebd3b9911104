"""What PostgreSQL adds: several writers at once, connections that break, tables that others touch."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_lineage import (
    LineageFilter,
    LineageService,
    PipelineLineageEntry,
    PipelineLineageRepository,
    turns,
)
from factflow_lineage.tables import FORM, executions, late_ends, rows, schema, stages
from factflow_testing.waiting import eventually

MakeEntry = Callable[..., PipelineLineageEntry]
OpenEngine = Callable[[], AsyncEngine]
Locking = Callable[[], contextlib.AbstractAsyncContextManager[None]]

pytestmark = [
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
    pytest.mark.usefixtures("snapshots"),
]


@pytest.fixture
async def writers(open_engine: OpenEngine) -> AsyncIterator[list[LineageService]]:
    """Three servers' writers, in transactions of a few rows."""
    running = [
        LineageService(open_engine(), flush_interval=0, batch_size=size) for size in (3, 5, 7)
    ]
    for writer in running:
        await writer.start()
    yield running
    for writer in running:
        await writer.close()


async def _follow(
    repository: PipelineLineageRepository, writers: list[LineageService], until: int
) -> list[str]:
    """Read the outcome log while it is written, as a stream does; and see that nobody is in trouble."""
    told: list[str] = []
    place = 0

    async def read_on() -> bool:
        nonlocal place
        page = await repository.outcomes("exec", place)
        told.extend(str(outcome.told["lineage_id"]) for outcome in page.outcomes)
        place = page.reached
        assert [writer.health().last_error for writer in writers] == [None, None, None]
        return len(told) >= until

    await eventually(read_on)
    return told


def _records(make_entry: MakeEntry) -> list[list[PipelineLineageEntry]]:
    """What three servers record of forty parents with three children each: a parent through one, its
    children through the others, and each of them begun, tried again and repeated elsewhere."""
    shares: list[list[PipelineLineageEntry]] = [[], [], []]
    for n in range(40):
        names = [(f"p{n}", None, 3), *((f"c{n}-{k}", f"p{n}", 0) for k in range(3))]
        for k, (name, parent, children) in enumerate(names):
            fields: dict[str, Any] = {"parent_id": parent, "expected_children": children}
            begun = make_entry(name, status="processing", **fields)
            again = make_entry(name, status="pending", generation=2, **fields)
            done = make_entry(name, **fields)
            for share, entry in enumerate((begun, done, again, done)):
                shares[(n + k + share) % 3].append(entry)
    return shares


async def test_three_servers_write_one_execution(
    writers: list[LineageService],
    repository: PipelineLineageRepository,
    open_engine: OpenEngine,
    make_entry: MakeEntry,
) -> None:
    """Every parent completes, counters agree with rows, and the log tells each outcome once, also to
    whoever reads it meanwhile. Nothing has to be tried again."""
    following = asyncio.create_task(_follow(repository, writers, until=160))
    shares = _records(make_entry)
    for step in range(len(shares[0])):
        for writer, share in zip(writers, shares, strict=True):
            for entry in share[step : step + 1]:
                writer.record(entry)
        await asyncio.sleep(0)
    for writer, share in zip(writers, shares, strict=True):
        for entry in share[len(shares[0]) :]:
            writer.record(entry)
    for writer in writers:
        assert await writer.flush(timeout=20)
        assert writer.gaps() == {}
    told = await following
    assert sorted(told) == sorted({entry.id for entry in shares[0] + shares[1] + shares[2]})
    page = await repository.list(LineageFilter(execution_id="exec", limit=1000))
    assert {entry.status for entry in page.entries} == {"completed"}
    (stage,) = await repository.stats("exec")
    assert (stage.count, stage.completed, page.total) == (160, 160, 160)
    async with open_engine().connect() as connection:
        named = {
            table: (await connection.execute(sa.select(table.c.number))).scalars().all()
            for table in (rows, late_ends, executions, stages)
        }
    numbers = sorted([*named[rows], *named[late_ends]])
    assert numbers == list(range(1, len(numbers) + 1)), "no number left out or given twice"
    assert (len(named[executions]), len(named[stages])) == (1, 1)


async def test_rows_arrive_after_the_server_was_away(
    service: LineageService,
    repository: PipelineLineageRepository,
    make_entry: MakeEntry,
    gone: Locking,
) -> None:
    """Connections are cut and refused for a time: rows wait, health says why, and nothing is lost."""
    service.record(make_entry("before"))
    assert await service.flush()
    async with gone():
        for number in range(10):
            service.record(make_entry(f"row{number}"))
        await eventually(lambda: "accept" in (service.health().last_error or ""))
        assert await service.flush("exec", timeout=0.05) is False
        assert (service.health().backlog, service.health().dropped) == (10, 0)
    assert await service.flush("exec", timeout=20)
    assert service.health().ok
    assert service.gaps() == {}
    assert (await repository.list()).total == 11


@pytest.mark.parametrize("made_again", [False, True])
async def test_dropped_tables_are_made_anew_and_their_rows_are_a_gap(
    service: LineageService,
    repository: PipelineLineageRepository,
    open_engine: OpenEngine,
    make_entry: MakeEntry,
    made_again: bool,
) -> None:
    """Also when another server has made the tables anew before this one looks."""
    service.record(make_entry("before"))
    service.record(make_entry("running", status="processing"))
    assert await service.flush()
    assert (await repository.list()).total == 2
    async with open_engine().begin() as connection:
        await connection.run_sync(schema.drop_all)
    if made_again:
        other = LineageService(open_engine())
        await other.start()
        await other.close()
    service.record(make_entry("after"))
    assert await service.flush("other", timeout=20)
    assert await service.flush("exec", timeout=20) is False
    assert service.gaps() == {"exec": 1}
    assert service.lost
    assert "made anew" in (service.health().last_error or "")
    assert [entry.id for entry in (await repository.list()).entries] == ["after"]
    assert service.take_gap("exec") == 1
    assert await service.rebuild([make_entry("before"), make_entry("after")]) == 2
    assert await service.flush("exec", timeout=20)
    assert (await repository.list()).total == 2


async def test_a_writer_that_stands_still_in_its_turn_keeps_nobody_waiting(
    open_engine: OpenEngine,
    repository: PipelineLineageRepository,
    make_entry: MakeEntry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frozen process, or one behind a cut line: the database lets go of it."""
    monkeypatch.setattr(turns, "LONGEST_SILENCE", "100ms")
    frozen = await open_engine().connect()
    await turns.limit_waits(frozen)
    transaction = await frozen.begin()
    await turns.take_turn(frozen)
    service = LineageService(open_engine(), flush_interval=0)
    await service.start()
    service.record(make_entry("row"))
    assert await service.flush(timeout=20)
    await service.close()
    assert (await repository.get("row")).status == "completed"
    with contextlib.suppress(sa.exc.DBAPIError):
        await transaction.rollback()
    await frozen.invalidate()
    await frozen.close()


@pytest.mark.usefixtures("database_url")
def test_changed_tables_have_another_form() -> None:
    """Whoever changes the tables learns here that `FORM` is to be counted up, and then writes both down."""
    sent: list[str] = []
    url = sa.make_url("postgresql+asyncpg://")
    dialect = url.get_dialect()()
    mock = sa.create_mock_engine(
        url, lambda made, *_: sent.append(str(made.compile(dialect=dialect)))
    )
    schema.create_all(mock, checkfirst=False)
    digest = hashlib.sha256("".join(sorted(sent)).encode()).hexdigest()
    assert (FORM, digest[:16]) == (1, "9813ab1b791d4b82")


async def _tell_form(engine: AsyncEngine, told: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text(f"COMMENT ON TABLE lineage_rows IS {told}"))


async def test_tables_of_an_earlier_version_are_made_anew(
    service: LineageService,
    repository: PipelineLineageRepository,
    open_engine: OpenEngine,
    make_entry: MakeEntry,
) -> None:
    """Whoever fills gaps learns that all rows are to be made again."""
    service.record(make_entry("before"))
    assert await service.flush()
    await service.close()
    engine = open_engine()
    async with engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE lineage_rows DROP COLUMN outcome"))
    await _tell_form(engine, "'Factflow lineage, form 0'")
    again = LineageService(engine, flush_interval=0)
    await again.start()
    assert again.lost
    assert again.gap_noted.is_set()
    again.record(make_entry("after"))
    assert await again.flush()
    await again.close()
    assert [entry.id for entry in (await repository.list()).entries] == ["after"]


@pytest.mark.parametrize(
    ("told", "why"), [("'Factflow lineage, form 999'", "form 999"), ("NULL", "none of Factflow's")]
)
async def test_tables_of_a_later_version_or_of_somebody_else_are_left_alone(
    service: LineageService,
    repository: PipelineLineageRepository,
    open_engine: OpenEngine,
    make_entry: MakeEntry,
    told: str,
    why: str,
) -> None:
    """Nothing is written or dropped; rows wait, and health says why."""
    service.record(make_entry("before"))
    assert await service.flush()
    await service.close()
    engine = open_engine()
    await _tell_form(engine, told)
    again = LineageService(open_engine(), flush_interval=0)
    await again.start()
    again.record(make_entry("after"))
    assert await again.flush(timeout=0.3) is False
    assert why in (again.health().last_error or "")
    assert [entry.id for entry in (await repository.list()).entries] == ["before"]
    await _tell_form(engine, "'Factflow lineage, form 1'")
    assert await again.flush(timeout=20)
    await again.close()
    assert (await repository.list()).total == 2
