"""A paused route takes no messages, loses none, and goes on where it stood."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_engine.execution_spec import RouteRuntime
from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.waiting import eventually

COUNT = 8
IN_HAND = 2


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path) as opened:
        yield opened


def pipeline(door: Path, count: int = COUNT) -> str:
    return f"""
version: "1.0"
routes:
  up:
    inbound: {{queue: up}}
    adapters: [{{type: fan, config: {{count: {count}}}}}, {{type: echo}}]
    outbound: down
  down:
    inbound: {{queue: down, concurrency: {IN_HAND}, prefetch: {IN_HAND}}}
    adapters: [{{type: wait_for, stage: work, config: {{path: "{door}"}}}}]
init_message: {{route: up}}
"""


def route(engine: EngineUnderTest, execution_id: str, name: str = "down") -> RouteRuntime:
    return next(r for r in engine.manager.runtime(execution_id) if r.route_id == name)


async def all_queued(engine: EngineUnderTest, execution_id: str, count: int = COUNT) -> None:
    await eventually(lambda: route(engine, execution_id).ready == count)


async def numbers(engine: EngineUnderTest, execution_id: str) -> list[int]:
    return sorted(output["n"] for output in await engine.outputs(execution_id, "down", "work"))


async def test_what_is_in_hand_ends_and_the_rest_waits(
    engine: EngineUnderTest, tmp_path: Path
) -> None:
    door = tmp_path / "door"
    execution = await engine.start(pipeline(door))
    await eventually(
        lambda: (
            (route(engine, execution).in_flight, route(engine, execution).ready)
            == (IN_HAND, COUNT - IN_HAND)
        )
    )
    engine.manager.pause("down")
    assert route(engine, execution).state == "paused"
    assert route(engine, execution).in_flight == IN_HAND
    door.touch()
    await eventually(lambda: route(engine, execution).in_flight == 0)
    assert route(engine, execution).ready == COUNT - IN_HAND
    assert len(await numbers(engine, execution)) == IN_HAND
    assert engine.manager.is_running(execution)
    engine.manager.resume("down")
    assert (await engine.end(execution)).status == "completed"
    assert await numbers(engine, execution) == list(range(COUNT))


async def test_a_route_that_waits_at_its_queue_takes_nothing_any_more(
    engine: EngineUnderTest, tmp_path: Path
) -> None:
    (tmp_path / "door").touch()
    engine.manager.pause("up")
    execution = await engine.start(pipeline(tmp_path / "door"))
    await eventually(lambda: route(engine, execution, "up").ready == 1)
    assert route(engine, execution).state == "running"  # its hands wait for what `up` will send
    engine.manager.pause("down")
    engine.manager.resume("up")
    await all_queued(engine, execution)
    assert await numbers(engine, execution) == []
    engine.manager.resume("down")
    assert (await engine.end(execution)).status == "completed"
    assert await numbers(engine, execution) == list(range(COUNT))


async def test_a_pause_counts_for_all_executions_and_for_those_to_come(
    engine: EngineUnderTest, tmp_path: Path
) -> None:
    (tmp_path / "door").touch()
    engine.manager.pause("down")
    both = [await engine.start(pipeline(tmp_path / "door")) for _ in range(2)]
    for execution in both:
        await all_queued(engine, execution)
        assert route(engine, execution).state == "paused"
        assert route(engine, execution, "up").state == "running"
    engine.manager.resume("down")
    for execution in both:
        assert (await engine.end(execution)).status == "completed"


async def test_pausing_and_resuming_all_the_time_loses_and_repeats_nothing(
    engine: EngineUnderTest, tmp_path: Path
) -> None:
    (tmp_path / "door").touch()
    execution = await engine.start(pipeline(tmp_path / "door", count=300))
    turns, done = 0, 0

    async def more_done() -> bool:
        found = await engine.records(execution, "down", "work")
        return len(found) > done or not engine.manager.is_running(execution)

    while engine.manager.is_running(execution):
        for name in ("down", "up"):
            engine.manager.pause(name)
        await eventually(
            lambda: (
                not engine.manager.is_running(execution) or route(engine, execution).in_flight == 0
            )
        )
        done = len(await engine.records(execution, "down", "work"))
        for name in ("up", "down", "down"):
            engine.manager.resume(name)
        await eventually(more_done)
        turns += 1
    assert turns > 1
    final = await engine.end(execution)
    assert (final.status, final.progress.announced) == ("completed", 1 + 2 * 300)
    assert await numbers(engine, execution) == list(range(300))
    assert {r.attempts for r in await engine.records(execution, "down", "work")} == {1}


async def test_a_paused_execution_can_be_cancelled(engine: EngineUnderTest, tmp_path: Path) -> None:
    engine.manager.pause("down")
    execution = await engine.start(pipeline(tmp_path / "door"))
    await all_queued(engine, execution)
    await engine.manager.cancel(execution, 0.0)
    assert (await engine.end(execution)).status == "cancelled"
