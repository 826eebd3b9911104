"""Places are given out in order, never more than there are, and none gets lost."""

from __future__ import annotations

import asyncio
import random

from factflow_engine.slots import Slots


async def turns(times: int = 3) -> None:
    """Let everything that can go on do so."""
    for _ in range(times):
        await asyncio.sleep(0)


async def test_places_are_given_in_the_order_they_were_asked_for() -> None:
    slots = Slots(2)
    had: list[int] = []

    async def ask(number: int) -> None:
        await slots.acquire()
        had.append(number)

    tasks = [asyncio.create_task(ask(number)) for number in range(4)]
    await turns()
    assert had == [0, 1]
    slots.release()
    await turns()
    assert had == [0, 1, 2]
    slots.release()
    await asyncio.gather(*tasks)
    assert had == [0, 1, 2, 3]


async def test_who_gives_up_in_the_moment_of_getting_a_place_passes_it_on() -> None:
    slots = Slots(1)
    await slots.acquire()
    first, second = (asyncio.create_task(slots.acquire()) for _ in range(2))
    await turns()
    slots.release()
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert first.cancelled()


async def test_who_has_given_up_is_passed_over() -> None:
    slots = Slots(1)
    await slots.acquire()
    first, second = (asyncio.create_task(slots.acquire()) for _ in range(2))
    await turns()
    first.cancel()
    slots.release()
    await asyncio.wait_for(second, 5)
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()
    slots.release()
    await asyncio.wait_for(slots.acquire(), 5)


async def test_giving_up_at_any_moment_loses_no_place() -> None:
    chance = random.Random(5)
    slots, at_work, most = Slots(3), 0, 0

    async def work() -> None:
        nonlocal at_work, most
        await slots.acquire()
        at_work += 1
        most = max(most, at_work)
        try:
            await turns(chance.randrange(4))
        finally:
            at_work -= 1
            slots.release()

    tasks = [asyncio.create_task(work()) for _ in range(400)]
    while not all(task.done() for task in tasks):
        chance.choice(tasks).cancel()
        await turns(1)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3
    for _ in range(3):
        await asyncio.wait_for(slots.acquire(), 5)
