"""Messages that wait for their time, while somebody sets the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from factflow_infra.queue import EmbeddedQueue
from factflow_protocols.queue import Delivery, OutgoingMessage, QueueDepth, QueueScope
from factflow_testing.waiting import eventually

SCOPE = QueueScope("execution")
DAY = 86_400.0


class SetClock:
    """A wall clock that can be set, beside a steady one that cannot; both move by hand."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.passed = 0.0

    def now(self) -> float:
        return self.wall

    def steady(self) -> float:
        return self.passed

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


async def with_one_waiting(path: Path, clock: SetClock, seconds: float) -> EmbeddedQueue:
    queue = EmbeddedQueue(path, clock)
    await queue.open(SCOPE)
    await queue.publish(SCOPE, [OutgoingMessage("q", "m", b"first")])
    delivery = await queue.subscribe(SCOPE, "q").take()
    await queue.put_back(delivery, b"second", clock.now() + seconds)
    return queue


async def arrives(queue: EmbeddedQueue) -> Delivery:
    consumer = queue.subscribe(SCOPE, "q")
    queue.wake()
    return await eventually(consumer.take_nowait)


def waits(queue: EmbeddedQueue) -> bool:
    queue.wake()
    return queue.depths(SCOPE)["q"] == QueueDepth(ready=0, in_flight=0, delayed=1)


@pytest.mark.parametrize("set_back", [DAY, 365 * DAY])
async def test_a_clock_set_back_adds_nothing_to_a_wait(tmp_path: Path, set_back: float) -> None:
    clock = SetClock()
    queue = await with_one_waiting(tmp_path / "queue.db", clock, 10)
    clock.pass_by(4)
    assert waits(queue)
    clock.wall -= set_back
    assert waits(queue)
    clock.pass_by(5)
    assert waits(queue)
    clock.pass_by(1)
    assert (await arrives(queue)).body == b"second"
    await queue.close()


async def test_what_is_put_back_after_the_clock_was_set_waits_by_the_new_time(
    tmp_path: Path,
) -> None:
    clock = SetClock()
    queue = await with_one_waiting(tmp_path / "queue.db", clock, 10)
    await queue.publish(SCOPE, [OutgoingMessage("r", "n", b"first")])
    delivery = await queue.subscribe(SCOPE, "r").take()
    clock.wall -= DAY
    await queue.put_back(delivery, b"second", clock.now() + 20)
    clock.pass_by(10)
    assert (await arrives(queue)).message_id == "m"
    assert queue.depths(SCOPE)["r"].delayed == 1
    clock.pass_by(10)
    queue.wake()
    assert queue.depths(SCOPE)["r"].ready == 1
    await queue.close()


async def test_a_clock_set_forward_ends_the_wait(tmp_path: Path) -> None:
    clock = SetClock()
    queue = await with_one_waiting(tmp_path / "queue.db", clock, 3600)
    clock.wall += DAY
    assert (await arrives(queue)).body == b"second"
    await queue.close()


async def test_after_a_restart_under_an_earlier_clock_a_wait_is_bounded(tmp_path: Path) -> None:
    clock = SetClock()
    queue = await with_one_waiting(tmp_path / "queue.db", clock, 10)
    await queue.close()
    clock.wall -= 365 * DAY
    queue = EmbeddedQueue(tmp_path / "queue.db", clock)
    await queue.open(SCOPE)
    assert waits(queue)
    clock.pass_by(3600)
    assert (await arrives(queue)).body == b"second"
    await queue.close()
