"""What NATS and the way to it can do to a queue, and what must come of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation.clock import SystemClock
from factflow_infra.database import sqlite_engine
from factflow_infra.queue.brokered import BrokeredQueue
from factflow_infra.queue.nats import NatsTransport
from factflow_infra.queue.nats.naming import stream_name
from factflow_infra.queue.nats.transport import HEADER_BYTES
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import OutgoingMessage, Progress, QueueScope
from factflow_testing.broker_rig import fresh_scope
from factflow_testing.broker_service import nats_url
from factflow_testing.nats_rig import ACK_WAIT, NatsRig, quick_url
from factflow_testing.nats_server import NatsServer
from factflow_testing.queue_rig import ids, settle_all, take
from factflow_testing.waiting import eventually

LIMIT = 65_536


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = sqlite_engine(tmp_path / "ledger.db", durability="fsync")
    yield engine
    await engine.dispose()


@pytest.fixture
def scope() -> QueueScope:
    return fresh_scope()


@pytest.fixture
async def rig(ledger: AsyncEngine, scope: QueueScope) -> AsyncIterator[NatsRig]:
    rig = NatsRig(nats_url(), ledger, [scope])
    await rig.make()
    yield rig
    await rig.close()


@pytest.fixture
def queue(rig: NatsRig) -> BrokeredQueue:
    return rig.queue


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path / "nats", f"max_payload: {LIMIT}")
    try:
        await server.start()
        yield server
    finally:
        server.kill()


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


@pytest.mark.long
async def test_a_handler_that_takes_ten_times_the_ack_wait_is_left_alone(
    queue: BrokeredQueue, scope: QueueScope
) -> None:
    """And so is what waits behind it in the same process, though others would take both."""
    await queue.open(scope)
    await queue.publish(scope, messages("a", "b"))
    consumer = queue.subscribe(scope, "in", prefetch=2)
    first, second = await take(consumer), await take(consumer)
    began = SystemClock().now()
    await eventually(lambda: SystemClock().now() - began > 10 * ACK_WAIT, seconds=30)
    assert consumer.take_nowait() is None
    await queue.settle(first)
    await queue.settle(second)
    assert await queue.wait_drained(scope) == Progress(2, 2, 0)
    assert not first.repeat
    assert not second.repeat


async def test_what_was_in_hand_over_a_cut_is_settled_and_not_handed_out_again(
    queue: BrokeredQueue, rig: NatsRig, scope: QueueScope
) -> None:
    await queue.open(scope)
    await queue.publish(scope, messages("a", "b"))
    consumer = queue.subscribe(scope, "in", prefetch=1)
    held = await take(consumer)
    rig.proxy.cut()

    async def noticed() -> bool:
        try:
            await queue.progress(QueueScope("health"))
        except QueueUnavailableError:
            return True
        return False

    await eventually(noticed)
    with pytest.raises(QueueUnavailableError, match="cannot be used now"):
        await queue.settle(held, children=messages("child"))
    assert await queue.progress(scope) == Progress(2, 0, 0)
    rig.proxy.mend()
    second = await take(consumer)
    assert second.message_id == "b"
    await insist(queue.settle, held, children=messages("child"))
    await queue.settle(second)
    third = await take(consumer)
    assert third.message_id == "child"
    await queue.settle(third)
    assert await queue.wait_drained(scope) == Progress(3, 3, 0)
    assert consumer.take_nowait() is None


async def test_many_cuts_lose_nothing(
    queue: BrokeredQueue, rig: NatsRig, scope: QueueScope
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


async def test_a_wait_is_kept_and_outlives_its_keeper(
    queue: BrokeredQueue, rig: NatsRig, scope: QueueScope
) -> None:
    """NATS moves nothing on by itself: the owner does, and whoever comes after it."""
    await queue.open(scope)
    now = SystemClock().now()
    waits = {"long": 3.0, "short": 0.25, "middle": 0.8}
    await queue.publish(
        scope, [OutgoingMessage("in", name, b"", now + wait) for name, wait in waits.items()]
    )
    got = await settle_all(queue, queue.subscribe(scope, "in"), 2)
    assert ids(got) == ["short", "middle"]
    assert queue.depths(scope)["in"].delayed == 1
    again = await rig.reopen(clean=False)
    await again.open(scope)
    assert again.depths(scope)["in"].delayed == 1
    (late,) = await settle_all(again, again.subscribe(scope, "in"), 1)
    assert late.message_id == "long"
    assert SystemClock().now() >= now + waits["long"]
    assert await again.wait_drained(scope) == Progress(3, 3, 0)


async def test_a_queue_lost_while_it_is_consumed_is_told(
    queue: BrokeredQueue, rig: NatsRig, scope: QueueScope
) -> None:
    """Publishing into it is refused, and after an end its scope is not found."""
    await queue.open(scope)
    await queue.publish(scope, messages("a"))
    await take(queue.subscribe(scope, "in"))
    await rig.drop(stream_name(scope, "in"))

    async def told() -> str | None:
        try:
            await queue.progress(QueueScope("health"))
        except QueueUnavailableError as error:
            return error.message
        return None

    assert stream_name(scope, "in") in await eventually(told)
    with pytest.raises(QueueUnavailableError):
        await queue.publish(scope, messages("b"))
    again = await rig.reopen(clean=False)
    assert await again.find(scope) is None
    assert await rig.at_broker() == {}


@pytest.mark.parametrize("kills", [1, 3])
async def test_a_server_that_is_killed_and_comes_back_loses_nothing(
    server: NatsServer, ledger: AsyncEngine, scope: QueueScope, kills: int
) -> None:
    queue = BrokeredQueue(NatsTransport(quick_url(server.url)), ledger)
    await queue.open(scope)
    await queue.publish(scope, messages(*map(str, range(30))))
    consumer = queue.subscribe(scope, "in", prefetch=4)
    for _ in range(kills):
        held = await take(consumer)
        await insist(queue.settle, await take(consumer), children=[])
        server.kill()
        with pytest.raises(QueueUnavailableError):
            await queue.publish(scope, messages("not there"))
        await server.start()
        await insist(queue.settle, held)

    async def finish() -> None:
        while True:
            await insist(queue.settle, await consumer.take())

    working = asyncio.create_task(finish())
    await insist(queue.publish, scope, messages("not there"))
    async with asyncio.timeout(60):
        assert await queue.wait_drained(scope) == Progress(31, 31, 0)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await queue.close()


async def test_a_body_at_the_limit_passes_and_one_beyond_is_refused(
    server: NatsServer, ledger: AsyncEngine, scope: QueueScope
) -> None:
    """The server says what it takes; headers have a part of it."""
    queue = BrokeredQueue(NatsTransport(server.url), ledger)
    await queue.open(scope)
    largest = b"x" * (LIMIT - HEADER_BYTES)
    await queue.publish(scope, [OutgoingMessage("in", "a", largest)])
    with pytest.raises(QueueError, match="too large for the broker") as refused:
        await queue.publish(scope, [OutgoingMessage("in", "b", largest + b"x")])
    assert not isinstance(refused.value, QueueUnavailableError)
    delivery = await take(queue.subscribe(scope, "in"))
    assert len(delivery.body) == len(largest)
    await queue.settle(delivery)
    assert await queue.wait_drained(scope) == Progress(1, 1, 0)
    await queue.close()


async def test_a_server_without_jetstream_is_told(tmp_path: Path, ledger: AsyncEngine) -> None:
    server = NatsServer(tmp_path / "plain", jetstream=False)
    await server.start()
    queue = BrokeredQueue(NatsTransport(server.url), ledger)
    with pytest.raises(QueueUnavailableError, match="JetStream is not enabled"):
        await queue.start()
    await queue.close()
    server.kill()


async def test_a_server_that_is_not_there_is_told_without_its_password(ledger: AsyncEngine) -> None:
    queue = BrokeredQueue(NatsTransport("nats://user:secret@127.0.0.1:1"), ledger)
    with pytest.raises(QueueUnavailableError, match=r"127\.0\.0\.1:1") as told:
        await queue.start()
    assert "secret" not in f"{told.value.message} {told.value.hint}"
    await queue.close()


def test_names_and_urls_that_nats_cannot_have_are_refused() -> None:
    scope = QueueScope("id")
    assert stream_name(scope, "a.b ü") == "exec:id:1:a=2Eb=20=C3=BC"
    assert NatsTransport("nats://host?ack_wait=5&replicas=3").ack_wait == 5
    with pytest.raises(QueueError, match="too long"):
        stream_name(scope, "x" * 250)
    with pytest.raises(QueueError, match="ack_wait=soon"):
        NatsTransport("nats://host?ack_wait=soon")
    with pytest.raises(QueueError, match="colour"):
        NatsTransport("nats://host?colour=red")
