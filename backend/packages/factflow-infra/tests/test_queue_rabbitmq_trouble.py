"""What a broker and the way to it can do to a queue, and what must come of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation.clock import SystemClock
from factflow_infra.database import sqlite_engine
from factflow_infra.queue.brokered import BrokeredQueue
from factflow_infra.queue.ledger.ledger import ScopeTakenOverError
from factflow_infra.queue.rabbitmq import RabbitTransport
from factflow_infra.queue.rabbitmq.naming import arguments, broker_name
from factflow_infra.queue.rabbitmq.transport import MOST_BODY_BYTES
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import MessagePlace, OutgoingMessage, Progress, QueueScope
from factflow_testing.broker_rig import fresh_scope
from factflow_testing.broker_service import amqp_url
from factflow_testing.queue_rig import take
from factflow_testing.rabbit_rig import RabbitRig
from factflow_testing.waiting import eventually


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = sqlite_engine(tmp_path / "ledger.db", durability="fsync")
    yield engine
    await engine.dispose()


@pytest.fixture
def scope() -> QueueScope:
    return fresh_scope()


@pytest.fixture
async def rig(ledger: AsyncEngine, scope: QueueScope) -> AsyncIterator[RabbitRig]:
    rig = RabbitRig(amqp_url(), ledger, [scope])
    await rig.make()
    yield rig
    await rig.close()


@pytest.fixture
def queue(rig: RabbitRig) -> BrokeredQueue:
    return rig.queue


def messages(*names: str) -> list[OutgoingMessage]:
    return [OutgoingMessage("in", name, f"body of {name}".encode()) for name in names]


async def insist(act: Callable[..., Awaitable[None]], *args: Any, **kwargs: Any) -> None:
    """Do it until it works, as the engine does."""

    async def done() -> bool:
        try:
            await act(*args, **kwargs)
        except QueueUnavailableError:
            return False
        return True

    await eventually(done, seconds=60)


class TestLostConnection:
    """Cut, the queue says so; mended, it goes on by itself, and nobody sees a message twice."""

    async def test_what_was_in_hand_is_settled_and_not_handed_out_again(
        self, queue: BrokeredQueue, rig: RabbitRig, scope: QueueScope
    ) -> None:
        await queue.open(scope)
        await queue.publish(scope, messages("a", "b"))
        consumer = queue.subscribe(scope, "in", prefetch=1)
        held = await take(consumer)
        rig.proxy.cut()
        with pytest.raises(QueueUnavailableError, match="cannot be used now"):
            await queue.settle(held, children=messages("child"))
        with pytest.raises(QueueUnavailableError):
            await queue.progress(QueueScope("health"))
        assert await queue.progress(scope) == Progress(2, 0, 0)
        rig.proxy.mend()

        async def handed_out_again() -> bool:
            return rig.proxy.accepted == 2 and (await rig.at_broker(["in"]))["in"] == (1, 0)

        await eventually(handed_out_again)
        second = await take(consumer)  # the twin of what is in hand came first, and stays unseen
        assert second.message_id == "b"
        assert consumer.take_nowait() is None
        await insist(queue.settle, held, children=messages("child"))
        await queue.settle(second)
        third = await take(consumer)
        assert third.message_id == "child"
        await queue.settle(third)
        assert await queue.wait_drained(scope) == Progress(3, 3, 0)
        assert consumer.take_nowait() is None

    async def test_many_cuts_lose_nothing(
        self, queue: BrokeredQueue, rig: RabbitRig, scope: QueueScope
    ) -> None:
        """Publishing, handling and settling go on over every cut; each message is counted once."""
        await queue.open(scope, publisher=True)
        names = [str(number) for number in range(150)]

        async def publish() -> None:
            for name in names:
                await insist(queue.publish, scope, messages(name))
            await insist(queue.end_publishing, scope)

        async def work() -> None:
            consumer = queue.subscribe(scope, "in", prefetch=5)
            while True:
                delivery = await consumer.take()
                children = [OutgoingMessage("out", f"{delivery.message_id}/c", b"child")]
                await insist(queue.settle, delivery, children=children)

        async def finish() -> None:
            consumer = queue.subscribe(scope, "out", prefetch=5)
            while True:
                await insist(queue.settle, await consumer.take())

        async def cut() -> None:
            for mark in (60, 120, 180, 240):

                async def reached(mark: int = mark) -> bool:
                    return (await queue.progress(scope)).settled >= mark

                await eventually(reached, seconds=60)
                rig.proxy.cut()
                rig.proxy.mend()

        async with asyncio.timeout(90):
            tasks = [asyncio.create_task(act()) for act in (work, work, finish, cut)]
            await publish()
            assert await queue.wait_drained(scope) == Progress(301, 301, 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert rig.proxy.accepted >= 3


class TestBroker:
    """What the broker is told, and what it is not left to decide."""

    async def test_no_more_is_taken_from_the_broker_than_was_asked_for(
        self, queue: BrokeredQueue, rig: RabbitRig, scope: QueueScope
    ) -> None:
        """And a little: a fourth."""
        await queue.open(scope)
        await queue.publish(scope, messages(*map(str, range(40))))
        await take(queue.subscribe(scope, "in", prefetch=8))

        async def left() -> bool:
            return (await rig.at_broker(["in"]))["in"] == (1, 30)

        await eventually(left)

    async def test_what_nobody_takes_goes_back_when_consumers_close(
        self, queue: BrokeredQueue, rig: RabbitRig, scope: QueueScope
    ) -> None:
        """What is in hand stays there, and can be settled."""
        await queue.open(scope)
        await queue.publish(scope, messages(*map(str, range(10))))
        consumer = queue.subscribe(scope, "in", prefetch=8)
        held = await take(consumer)
        await consumer.close()

        async def given_back() -> bool:
            return (await rig.at_broker(["in"]))["in"][1] == 9

        async def left_alone() -> bool:
            return (await rig.at_broker(["in"]))["in"] == (0, 9)

        await eventually(given_back)
        await queue.settle(held)
        assert await queue.progress(scope) == Progress(10, 1, 0)
        await eventually(left_alone)  # a consumer counts until what it had in hand is acknowledged

    async def test_a_message_is_never_dropped_for_being_given_back_often(
        self, queue: BrokeredQueue, scope: QueueScope
    ) -> None:
        """Brokers of today drop one at its 21st delivery, unless they are told not to."""
        await queue.open(scope)
        await queue.publish(scope, messages("a"))
        consumer = queue.subscribe(scope, "in")
        for _ in range(30):
            await queue.release(await take(consumer))
        delivery = await take(consumer)
        assert (delivery.message_id, delivery.repeat, delivery.crashes) == ("a", True, 0)
        assert arguments(scope, "in", (4, 1, 0))["x-delivery-limit"] == -1
        assert "x-delivery-limit" not in arguments(scope, "in", (3, 13, 7))

    async def test_a_body_at_the_limit_passes_and_one_beyond_is_refused(
        self, queue: BrokeredQueue, scope: QueueScope
    ) -> None:
        """Refused before it is announced, so the execution does not wait for it."""
        await queue.open(scope)
        largest = b"x" * MOST_BODY_BYTES
        await queue.publish(scope, [OutgoingMessage("in", "a", largest)])
        with pytest.raises(QueueError, match="too large for the broker") as refused:
            await queue.publish(scope, [OutgoingMessage("in", "b", largest + b"x")])
        assert not isinstance(refused.value, QueueUnavailableError)
        delivery = await take(queue.subscribe(scope, "in"))
        assert len(delivery.body) == MOST_BODY_BYTES
        await queue.settle(delivery)
        assert await queue.wait_drained(scope) == Progress(1, 1, 0)

    async def test_a_scope_one_of_whose_queues_the_broker_lost_is_not_found(
        self, queue: BrokeredQueue, rig: RabbitRig, scope: QueueScope
    ) -> None:
        """So that the execution goes on from its records; nothing of the old queues is left behind."""
        await queue.open(scope)
        await queue.publish(scope, messages("a"))
        again = await rig.reopen(clean=False)
        assert await again.find(scope) == Progress(1, 0, 0)
        async with await aio_pika.connect(rig.url) as connection:
            await (await connection.channel()).queue_delete(broker_name(scope, "in"))
        assert await again.find(scope) is None
        assert await rig.at_broker() == {}
        await again.delete(scope)

    async def test_a_queue_lost_while_it_is_consumed_is_told(
        self, queue: BrokeredQueue, rig: RabbitRig, scope: QueueScope
    ) -> None:
        """Publishing into it is refused, and whoever asks how the queue is hears its name."""
        await queue.open(scope)
        await queue.publish(scope, messages("a"))
        await take(queue.subscribe(scope, "in"))
        async with await aio_pika.connect(rig.url) as connection:
            await (await connection.channel()).queue_delete(broker_name(scope, "in"))

        async def told() -> str | None:
            try:
                await queue.progress(QueueScope("health"))
            except QueueUnavailableError as error:
                return error.message
            return None

        assert broker_name(scope, "in") in await eventually(told)
        with pytest.raises(QueueUnavailableError):
            await queue.publish(scope, messages("b"))
        await queue.delete(scope)
        assert await queue.progress(QueueScope("health")) == Progress(0, 0, 0)

    async def test_a_wait_is_kept_to_a_tenth_of_a_second_and_blocks_nothing(
        self, queue: BrokeredQueue, scope: QueueScope
    ) -> None:
        """Whatever order the waits begin in, they end in the order of their times."""
        clock = asyncio.get_running_loop().time
        began, wall = clock(), _now()
        await queue.open(scope)
        waits = {"long": 1.9, "short": 0.25, "middle": 0.8}
        await queue.publish(
            scope, [OutgoingMessage("in", name, b"", wall + wait) for name, wait in waits.items()]
        )
        consumer = queue.subscribe(scope, "in")
        got = []
        for _ in waits:
            delivery = await take(consumer)
            got.append(delivery.message_id)
            assert clock() - began >= waits[delivery.message_id] - 0.05
            await queue.settle(delivery)
        assert got == ["short", "middle", "long"]
        assert queue.depths(scope)["in"].delayed == 0

    async def test_where_a_message_stands_is_told_as_far_as_a_broker_can(
        self, queue: BrokeredQueue, scope: QueueScope
    ) -> None:
        """Until when a retry waits, but not how many stand before a message."""
        await queue.open(scope)
        await queue.publish(scope, messages("a", "b"))
        delivery = await take(queue.subscribe(scope, "in", prefetch=1))
        later = _now() + 60
        await queue.put_back(delivery, b"again", later)
        found = await queue.find_message(scope, "a")
        assert found == MessagePlace("in", "delayed", b"again", not_before=later)
        waits = await queue.find_message(scope, "b")
        assert waits is not None
        assert (waits.state, waits.ahead) == ("ready", None)


class TestLedger:
    """The ledger decides who may write, and its absence stops nothing that the broker can hold."""

    async def test_an_owner_that_was_replaced_writes_nothing_more(
        self, queue: BrokeredQueue, rig: RabbitRig, scope: QueueScope
    ) -> None:
        await queue.open(scope, publisher=True)
        second = await rig.make()
        await second.open(scope)
        with pytest.raises(ScopeTakenOverError):
            await queue.publish(scope, messages("a"))
        with pytest.raises(ScopeTakenOverError):
            await queue.end_publishing(scope)
        assert await second.progress(scope) == Progress(1, 0, 0)

    async def test_settles_wait_at_the_broker_while_the_ledger_is_away(
        self, queue: BrokeredQueue, rig: RabbitRig, scope: QueueScope
    ) -> None:
        await queue.open(scope)
        await queue.publish(scope, messages("a"))
        delivery = await take(queue.subscribe(scope, "in"))
        children = queue.subscribe(scope, "out")
        await rig.made("out")
        engine = rig.ledgers[-1].sync_engine
        event.listen(engine, "begin", _away)
        await queue.settle(delivery, children=[OutgoingMessage("out", "child", b"")])
        child = await take(children)
        await queue.settle(child)
        with pytest.raises(QueueUnavailableError, match="ledger"):
            await queue.publish(scope, messages("b"))
        assert (await queue.progress(scope)).settled == 0
        event.remove(engine, "begin", _away)
        async with asyncio.timeout(20):
            assert await queue.wait_drained(scope) == Progress(2, 2, 0)


async def test_a_broker_that_is_not_there_is_told_without_its_password(ledger: AsyncEngine) -> None:
    queue = BrokeredQueue(RabbitTransport("amqp://user:secret@127.0.0.1:1/"), ledger)
    with pytest.raises(QueueUnavailableError, match=r"127\.0\.0\.1:1") as told:
        await queue.start()
    assert "secret" not in f"{told.value.message} {told.value.hint}"
    await queue.close()


def _now() -> float:
    return SystemClock().now()


def _away(_: Connection) -> None:
    raise SQLAlchemyError("the database is away")
