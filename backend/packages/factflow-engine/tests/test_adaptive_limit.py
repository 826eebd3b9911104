"""Concurrency follows the latency of the slowest stage, between 1 and the bound."""

from __future__ import annotations

import asyncio
from pathlib import Path

from factflow_engine.adaptive_limit import AdaptiveLimit
from factflow_engine.slots import Slots
from factflow_testing.engine import engine_in
from factflow_testing.waiting import eventually


async def busy(slots: Slots) -> None:
    """Take every place."""
    while not slots.all_taken:
        await slots.acquire()


def a_round(pace: AdaptiveLimit, slots: Slots, seconds: float, stage: str = "s") -> int:
    for _ in range(slots.limit):
        pace.observe(stage, seconds, failed=False)
    return slots.limit


async def test_it_grows_by_one_when_all_places_are_used_and_shrinks_by_a_quarter() -> None:
    slots = Slots(4)
    pace = AdaptiveLimit(slots, target_seconds=0.1, highest=6)
    assert a_round(pace, slots, 0.01) == 4, "there is room already"
    grown = []
    for _ in range(4):
        await busy(slots)
        grown.append(a_round(pace, slots, 0.01))
    assert grown == [5, 6, 6, 6]
    assert [a_round(pace, slots, 0.2) for _ in range(6)] == [4, 3, 2, 1, 1, 1]


async def test_the_slowest_stage_decides_and_quick_failures_say_nothing() -> None:
    slots = Slots(4)
    pace = AdaptiveLimit(slots, target_seconds=0.1, highest=8)
    for _ in range(100):
        pace.observe("slow", 0.001, failed=True)
    assert slots.limit == 4
    for stage, seconds in (("quick", 0.001), ("quick", 0.001), ("quick", 0.001), ("slow", 0.2)):
        pace.observe(stage, seconds, failed=False)
    assert slots.limit == 3


async def test_a_lowered_limit_takes_no_place_away_and_a_raised_one_lets_in_who_waits() -> None:
    slots = Slots(3)
    await busy(slots)
    slots.resize(1)
    waiting = asyncio.create_task(slots.acquire())
    slots.release()
    slots.release()
    assert slots.all_taken, "one is still taken, and one there is"
    slots.resize(2)
    await asyncio.wait_for(waiting, 5)
    assert slots.all_taken


async def test_a_route_shows_the_concurrency_it_has_come_to(tmp_path: Path) -> None:
    door = tmp_path / "door"
    text = f"""
version: "1.0"
routes:
  r:
    inbound: {{queue: q, concurrency: 4}}
    adapters: [{{type: fan, config: {{count: 40}}}}, {{type: echo}}]
    outbound: held
    backpressure: {{target_latency_ms: 0.0001, max_concurrency: 8}}
  held:
    inbound: {{queue: held, concurrency: 3}}
    adapters: [{{type: wait_for, config: {{path: "{door}"}}}}]
init_message: {{route: r}}
"""
    async with engine_in(tmp_path) as engine:
        execution = await engine.start(text)
        await eventually(
            lambda: [r.concurrency for r in engine.manager.runtime(execution)] == [1, 3]
        )
        door.touch()
        assert (await engine.end(execution)).status == "completed"
