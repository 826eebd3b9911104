"""Processes that have joined a scope are killed, or lose their connections; its owner counts to the end.

Run as a program, this file is such a process: it tells on standard output what it takes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from factflow_infra.postgres import postgres_engine
from factflow_infra.queue.brokered import BrokeredQueue
from factflow_infra.queue.brokers import transport_for
from factflow_infra.queue.ledger.claims import dead_among
from factflow_infra.queue.ledger.presence import Presence
from factflow_protocols.errors import QueueUnavailableError
from factflow_protocols.queue import Consumer, OutgoingMessage, Progress, QueueScope
from factflow_testing.broker_rig import BrokerRig, fresh_scope
from factflow_testing.crash_matrix import MEMBER_POINTS
from factflow_testing.nats_rig import NatsRig
from factflow_testing.postgres_schemas import fresh_schema
from factflow_testing.queue_rig import take
from factflow_testing.rabbit_rig import RabbitRig
from factflow_testing.waiting import eventually

COUNT, CHILDREN = 24, 3
EVERYTHING = COUNT * (1 + CHILDREN)
POINTS = (*MEMBER_POINTS, "queue.broker.children", "queue.broker.event", "queue.broker.copied")


async def consume(queue: BrokeredQueue, scope: QueueScope, consumer: Consumer) -> None:
    while True:
        delivery = await consumer.take()
        name = delivery.message_id
        os.write(1, f"{name} {delivery.crashes}\n".encode())
        await queue.claim(delivery)
        if name == "deadly":
            await asyncio.Event().wait()
        elif name.endswith("7") and delivery.body == b"first":
            await queue.put_back(delivery, b"again", time.time() + 0.05)
        elif delivery.queue == "in":
            children = [OutgoingMessage("out", f"{name}/{n}", b"child") for n in range(CHILDREN)]
            await queue.publish(
                scope, children[:2]
            )  # as a fan-out does that is too large for one act
            await queue.settle(delivery, children=children[2:], failed=name.endswith("3"))
        else:
            await queue.settle(delivery)


async def work(url: str, ledger: str, execution_id: str) -> None:
    engine = postgres_engine(ledger, pool_size=3)
    queue = BrokeredQueue(transport_for(url), engine)
    scope = QueueScope(execution_id)
    await queue.join(scope)
    async with asyncio.TaskGroup() as group:
        for name in ("in", "out"):
            consumer = queue.subscribe(scope, name, prefetch=4)
            group.create_task(consume(queue, scope, consumer))


@pytest.fixture
def ledger() -> Iterator[str]:
    with fresh_schema() as url:
        yield url


@pytest.fixture(params=[pytest.param(RabbitRig, id="rabbitmq"), pytest.param(NatsRig, id="nats")])
async def rig(request: pytest.FixtureRequest, ledger: str) -> AsyncIterator[BrokerRig]:
    engine = postgres_engine(ledger, pool_size=4)
    rig = request.param(request.param.found(), engine, [fresh_scope()])
    yield rig
    await rig.close()
    await engine.dispose()


@asynccontextmanager
async def member(
    rig: BrokerRig, ledger: str, point: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Lend a process that has joined the rig's scope."""
    command = [__file__, rig.client_url, ledger, rig.scopes[0].execution_id]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env={**os.environ, "FACTFLOW_CRASH_POINT": point},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=() if p in MEMBER_POINTS else pytest.mark.long) for p in POINTS]
)
async def test_a_member_killed_at_any_step_loses_and_doubles_nothing(
    rig: BrokerRig, ledger: str, point: str
) -> None:
    (scope,) = rig.scopes
    queue = await rig.make()
    await queue.open(scope)
    await queue.publish(scope, [OutgoingMessage("in", str(n), b"first") for n in range(COUNT)])
    async with member(rig, ledger, f"{point}:2") as killed:
        async with asyncio.timeout(60):
            assert await killed.wait() == -9
    async with member(rig, ledger), member(rig, ledger):
        async with asyncio.timeout(60):
            progress = await queue.wait_drained(scope)
    failed = sum(str(n).endswith("3") for n in range(COUNT))
    assert progress == Progress(EVERYTHING, EVERYTHING, failed)
    await queue.delete(scope)
    assert await rig.at_broker() == {}


async def test_a_deadly_message_is_known_after_it_has_killed_several(
    rig: BrokerRig, ledger: str
) -> None:
    if isinstance(rig, NatsRig):
        rig.ack_wait = (
            6.0  # what nobody was there for when it was to come again, NATS takes for new
        )
    (scope,) = rig.scopes
    queue = await rig.make()
    await queue.open(scope)
    await queue.publish(scope, [OutgoingMessage("in", "deadly", b"")])
    for crashes, repeat in ((0, False), (0, True), (1, True)):
        async with member(rig, ledger) as process:
            assert await line(process) == f"deadly {crashes}"
            if repeat:  # the first one has claimed nothing
                await eventually(lambda: _is_claimed(rig))
    delivery = await take(queue.subscribe(scope, "in"))
    assert (delivery.repeat, delivery.crashes) == (True, 2)


async def test_an_attempt_that_comes_before_the_last_one_has_given_way_is_not_lost(
    rig: BrokerRig,
) -> None:
    """The ledger may be slower than a short wait."""
    (scope,) = rig.scopes
    queue = await rig.make()
    await queue.open(scope)
    await queue.publish(scope, [OutgoingMessage("in", "a", b"first")])
    consumer = queue.subscribe(scope, "in")
    delivery = await take(consumer)
    async with rig.ledger.begin() as connection:
        await connection.execute(text("SELECT * FROM queue_message FOR UPDATE"))
        later = time.time() + 0.1
        giving_way = asyncio.create_task(queue.put_back(delivery, b"again", later))
        await eventually(lambda: time.time() > later + 1)
        assert not giving_way.done()
    await giving_way
    again = await take(consumer)
    assert again.body == b"again"
    await queue.settle(again)
    assert await queue.wait_drained(scope) == Progress(1, 1, 0)


async def test_who_only_lost_the_broker_is_not_blamed(rig: BrokerRig) -> None:
    (scope,) = rig.scopes
    queue, cut = await rig.make(), await rig.make()
    await queue.open(scope)
    await queue.publish(scope, [OutgoingMessage("in", "a", b"")])
    await cut.join(scope)
    consumer = cut.subscribe(scope, "in")
    await cut.release(await take(consumer))
    held = await take(consumer)
    await cut.claim(held)
    rig.proxy.cut()
    again = await take(queue.subscribe(scope, "in"))
    assert (again.message_id, again.repeat, again.crashes) == ("a", True, 0)
    await queue.settle(again)
    assert await queue.wait_drained(scope) == Progress(1, 1, 0)
    rig.proxy.mend()

    async def settled() -> bool:
        try:
            await cut.settle(held)
        except QueueUnavailableError:
            return False
        return True

    await eventually(settled)
    assert await queue.progress(scope) == Progress(1, 1, 0)


async def test_a_presence_whose_session_was_ended_comes_back(ledger: str) -> None:
    engine = postgres_engine(ledger, pool_size=2)
    presence = Presence(engine)

    async def is_alive() -> bool:
        async with engine.connect() as connection:
            return not await dead_among(connection, [presence.claimant], mine=0)

    async def end_its_session() -> None:
        holder = text(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND "
            "((classid::bigint << 32) | objid::bigint) = :number"
        )
        async with engine.begin() as connection:
            await connection.execute(holder, {"number": presence.claimant})

    assert not await is_alive()
    await presence.start()
    assert await is_alive()
    await end_its_session()
    await eventually(is_alive)
    await presence.close()

    async def is_dead() -> bool:
        return not await is_alive()

    await eventually(is_dead)
    await engine.dispose()


async def _is_claimed(rig: BrokerRig) -> bool:
    async with rig.ledger.begin() as connection:
        return bool(await connection.scalar(text("SELECT sum(claimed) FROM queue_message")))


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:4]))
