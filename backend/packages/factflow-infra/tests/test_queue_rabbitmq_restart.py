"""A broker of the test's own: killed and started again, impatient with handlers, and with small messages."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation.clock import SystemClock
from factflow_infra.database import sqlite_engine
from factflow_infra.queue.brokered import BrokeredQueue
from factflow_infra.queue.rabbitmq import RabbitTransport
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import Delivery, OutgoingMessage, Progress, QueueScope
from factflow_testing.broker_rig import fresh_scope
from factflow_testing.queue_rig import ids, settle_all, take
from factflow_testing.rabbit_server import RabbitServer
from factflow_testing.waiting import eventually

pytestmark = pytest.mark.long

LIMIT = 65_536
IMPATIENT = f"""
consumer_timeout = 1500
max_message_size = {LIMIT}
"""

TIMERS = """[{rabbit, [
    {channel_tick_interval, 500},
    {dead_letter_worker_publisher_confirm_timeout, 2000}
]}]."""
"""How often it looks at handlers, and how soon a delay queue tries again to hand over (180 s by default)."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RabbitServer]:
    server = RabbitServer(tmp_path / "rabbit", IMPATIENT, TIMERS)
    try:
        await server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = sqlite_engine(tmp_path / "ledger.db", durability="fsync")
    yield engine
    await engine.dispose()


@pytest.fixture
async def queue(server: RabbitServer, ledger: AsyncEngine) -> AsyncIterator[BrokeredQueue]:
    queue = BrokeredQueue(RabbitTransport(server.url), ledger)
    yield queue
    await queue.close()


@pytest.fixture
def scope() -> QueueScope:
    return fresh_scope()


def messages(*names: str) -> list[OutgoingMessage]:
    return [OutgoingMessage("in", name, f"body of {name}".encode()) for name in names]


async def settled(queue: BrokeredQueue, delivery: Delivery) -> None:
    """Settle it, as often as it takes."""

    async def done() -> bool:
        try:
            await queue.settle(delivery)
        except QueueUnavailableError:
            return False
        return True

    await eventually(done, seconds=60)


async def test_confirmed_means_kept_over_the_brokers_death(
    server: RabbitServer, queue: BrokeredQueue, scope: QueueScope
) -> None:
    """What waited, what was in hand, what was put back; the queue finds its way back by itself."""
    await queue.open(scope)
    # A queue that was made just before the broker was killed may not come up again (3.10.8).
    first = OutgoingMessage("in", "first", b"", SystemClock().now() + 1.7)
    await queue.publish(scope, [first])
    consumer = queue.subscribe(scope, "in", prefetch=1)
    await settle_all(queue, consumer, 1)
    await queue.publish(scope, messages("held", "back", "waits"))
    held, back = await take(consumer), await take(consumer)
    await queue.put_back(back, b"second attempt", SystemClock().now() + 3)
    waits = await take(consumer)  # there was room for it, so the one put back is off the queue
    server.kill()
    with pytest.raises(QueueUnavailableError):
        await queue.publish(scope, messages("refused"))
    await server.start()
    await settled(queue, held)
    await settled(queue, waits)
    (again,) = await settle_all(queue, consumer, 1)
    assert (again.message_id, again.body) == ("back", b"second attempt")
    await queue.publish(scope, messages("refused"))
    await settle_all(queue, consumer, 1)
    assert await queue.wait_drained(scope) == Progress(5, 5, 0)


async def test_a_long_handler_is_not_joined_by_a_second_one(
    queue: BrokeredQueue, scope: QueueScope, capfd: pytest.CaptureFixture[str]
) -> None:
    """The broker ends the channel of a handler that takes too long, and has its message delivered again."""
    await queue.open(scope)
    await queue.publish(scope, messages("long"))
    consumer = queue.subscribe(scope, "in")
    held = await take(consumer)

    async def lost_patience() -> bool:
        return "timed out" in capfd.readouterr().out

    await eventually(lost_patience, seconds=90)
    await queue.publish(scope, messages("behind"))
    second = await take(consumer)
    assert second.message_id == "behind"
    assert consumer.take_nowait() is None
    await queue.settle(held)
    await settled(queue, second)
    assert await queue.wait_drained(scope) == Progress(2, 2, 0)
    assert consumer.take_nowait() is None


async def test_a_smaller_limit_of_the_broker_is_learned_and_blames_the_right_message(
    queue: BrokeredQueue, scope: QueueScope
) -> None:
    await queue.open(scope)
    large = OutgoingMessage("in", "large", b"x" * (LIMIT + 1))
    small = messages(*map(str, range(20)))
    refused: list[QueueError] = []

    async def publish(message: OutgoingMessage) -> None:
        async def done() -> bool:
            try:
                await queue.publish(scope, [message])
            except QueueUnavailableError:
                return False
            except QueueError as error:
                refused.append(error)
            return True

        await eventually(done, seconds=30)

    await asyncio.gather(*(publish(message) for message in (*small[:10], large, *small[10:])))
    assert [str(LIMIT) in error.message for error in refused] == [True]
    got = await settle_all(queue, queue.subscribe(scope, "in"), 20)
    assert sorted(map(int, ids(got))) == list(range(20))
