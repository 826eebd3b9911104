"""The gate that messages of a process pass: together, or one alone."""

from __future__ import annotations

import asyncio

from factflow_engine.run_gate import RunGate, Turn


async def settle_down() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def enter(gate: RunGate, *, alone: bool = False) -> asyncio.Task[Turn]:
    return asyncio.create_task(gate.enter(alone=alone))


def entered(*tasks: asyncio.Task[Turn]) -> list[bool]:
    return [task.done() and not task.cancelled() for task in tasks]


async def test_many_run_together() -> None:
    gate = RunGate()
    assert all(gate.enter_nowait(alone=False) for _ in range(3))


async def test_who_wants_to_be_alone_waits_for_the_others_and_goes_before_later_ones() -> None:
    gate = RunGate()
    before = [await gate.enter(alone=False) for _ in range(2)]
    first, second = enter(gate, alone=True), enter(gate, alone=True)
    await settle_down()
    later = enter(gate)
    before[0].end()
    await settle_down()
    assert entered(first, second, later) == [False, False, False]
    before[1].end()
    await settle_down()
    assert entered(first, second, later) == [True, False, False]
    first.result().end()
    await settle_down()
    assert entered(second, later) == [True, False]
    assert gate.enter_nowait(alone=False) is None
    second.result().end()
    assert (await later).alone is False


async def test_a_turn_ends_once() -> None:
    gate = RunGate()
    ended, running = await gate.enter(alone=False), await gate.enter(alone=False)
    ended.end()
    ended.end()
    assert gate.enter_nowait(alone=True) is None
    running.end()
    assert gate.enter_nowait(alone=True) is not None


async def test_giving_up_bars_nobody() -> None:
    """Whether the cancel comes while it waits, or with the turn it waited for."""
    for late in (False, True):
        gate = RunGate()
        running = await gate.enter(alone=False)
        loner = enter(gate, alone=True)
        await settle_down()
        other = enter(gate)
        await settle_down()
        if late:
            running.end()
        loner.cancel()
        await settle_down()
        assert loner.cancelled()
        assert entered(other) == [True]
        other.result().end()
        running.end()
        assert gate.enter_nowait(alone=True) is not None


async def test_the_next_one_passes_although_the_first_in_line_has_just_given_up() -> None:
    gate = RunGate()
    running = await gate.enter(alone=True)
    first, second = enter(gate, alone=True), enter(gate, alone=True)
    await settle_down()
    first.cancel()
    running.end()
    assert (await second).alone is True
