"""A process that publishes, settles and puts back through a broker is killed at every step; whoever comes
after it brings the scope to its end, with nothing lost and every message counted once.

Run as a program, this file is that process: it tells on standard output what it settled.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from factflow_infra.database import sqlite_engine
from factflow_infra.queue.brokered import BrokeredQueue
from factflow_infra.queue.brokers import transport_for
from factflow_protocols.queue import Consumer, OutgoingMessage, Progress, QueueScope
from factflow_testing.broker_rig import BrokerRig, fresh_scope
from factflow_testing.crash_matrix import BROKER_POINTS
from factflow_testing.nats_rig import NatsRig
from factflow_testing.rabbit_rig import RabbitRig

COUNT, CHUNK, CHILDREN = 24, 6, 2
EVERYTHING = 1 + COUNT * (1 + CHILDREN)


def children_of(name: str) -> list[OutgoingMessage]:
    return [OutgoingMessage("out", f"{name}/{n}", b"child") for n in range(CHILDREN)]


async def publish_the_rest(queue: BrokeredQueue, scope: QueueScope) -> None:
    for first in range(await queue.publisher_cursor(scope), COUNT, CHUNK):
        chunk = [OutgoingMessage("in", str(n), b"first") for n in range(first, first + CHUNK)]
        await queue.publish(scope, chunk, cursor=first + CHUNK)
    await queue.end_publishing(scope)


async def handle_all(
    queue: BrokeredQueue, scope: QueueScope, settled: Callable[[str], object]
) -> Progress:
    """Bring the scope to its end, wherever it stands."""

    async def consume(consumer: Consumer) -> None:
        while True:
            delivery = await consumer.take()
            name = delivery.message_id
            if name.endswith("7") and delivery.body == b"first":
                await queue.put_back(delivery, b"again", time.time() + 0.05)
            elif delivery.queue == "in":
                await queue.settle(delivery, children=children_of(name))
                settled(name)
            else:
                await queue.settle(delivery, failed=name.endswith("3/0"))
                settled(name)

    consumers = [queue.subscribe(scope, name, prefetch=8) for name in ("in", "out", "in")]
    tasks = [asyncio.create_task(consume(consumer)) for consumer in consumers]
    try:
        async with asyncio.timeout(60):
            await publish_the_rest(queue, scope)
            return await queue.wait_drained(scope)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def work(url: str, ledger: Path, execution_id: str) -> None:
    engine = sqlite_engine(ledger, durability="fsync")
    queue = BrokeredQueue(transport_for(url), engine)
    scope = QueueScope(execution_id)
    await queue.open(scope, publisher=True)
    await handle_all(queue, scope, lambda name: os.write(1, f"{name}\n".encode()))
    await queue.close()
    await engine.dispose()


@pytest.fixture(params=[pytest.param(RabbitRig, id="rabbitmq"), pytest.param(NatsRig, id="nats")])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BrokerRig]:
    engine = sqlite_engine(tmp_path / "ledger.db", durability="fsync")
    rig = request.param(request.param.found(), engine, [fresh_scope()])
    yield rig
    await rig.close()
    await engine.dispose()


QUICK = ("queue.broker.published", "queue.broker.event", "queue.broker.copied")


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point in QUICK else pytest.mark.long)
        for point in BROKER_POINTS
    ],
)
async def test_a_kill_at_any_step_loses_and_doubles_nothing(
    rig: BrokerRig, tmp_path: Path, point: str
) -> None:
    (scope,) = rig.scopes
    environment = {**os.environ, "FACTFLOW_CRASH_POINT": f"{point}:2"}
    command = [
        sys.executable,
        __file__,
        rig.client_url,
        str(tmp_path / "ledger.db"),
        scope.execution_id,
    ]
    killed = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60
    )
    assert killed.returncode == -9, killed.stderr
    settled = set(killed.stdout.split())
    await rig.unconsumed()
    queue = await rig.make()
    found = await queue.find(scope)
    assert found is not None
    assert 0 < found.outstanding <= EVERYTHING
    await queue.open(scope, publisher=True)
    failed = sum(str(n).endswith("3") for n in range(COUNT))
    assert await handle_all(queue, scope, settled.add) == Progress(EVERYTHING, EVERYTHING, failed)
    # Told on the way to the ledger, a settle may have been cut off before it was told here.
    names = {str(n) for n in range(COUNT)}
    names |= {child.message_id for name in names for child in children_of(name)}
    places = [await queue.find_message(scope, name) for name in names]
    assert {place.state if place else None for place in places} == {"settled"}
    await queue.delete(scope)
    assert await rig.at_broker() == {}


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
