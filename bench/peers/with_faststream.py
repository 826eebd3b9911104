"""FastStream on NATS JetStream: a durable pull consumer for each stage, which publishes, then acknowledges.

What it keeps: each message in a stream on disk until the consumer behind it has acknowledged it, and the
results in that stream. NATS writes to disk without waiting for it, by its default.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import nats
from cost import Cost, Meter
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from peers.assignment import CONCURRENCY, WARM_UP, Assignment, answer, assignment
from work import Payload, payload, stage_a, stage_b, stage_c

SERVER = os.environ.get("BENCH_NATS", "nats://127.0.0.1:4222")
NAME = f"factflow-bench-{os.getpid()}"


async def run(asked: Assignment) -> Cost:
    """Send everything through the three stages; the stream is deleted at the end."""
    broker = NatsBroker(SERVER, logger=None)
    stream = JStream(NAME, subjects=[f"{NAME}.>"])
    done: asyncio.Queue[int] = asyncio.Queue()

    def consume(name: str, work: Callable[[Payload], Payload], following: str) -> None:
        @broker.subscriber(
            f"{NAME}.{name}",
            durable=f"{NAME}-{name}",
            stream=stream,
            pull_sub=PullSub(batch_size=CONCURRENCY, timeout=0.5),
            max_workers=CONCURRENCY,
            ack_policy=AckPolicy.REJECT_ON_ERROR,
        )
        async def handle(item: Payload) -> None:
            await broker.publish(work(item), f"{NAME}.{following}", stream=NAME)
            if following == "done":
                done.put_nowait(item["n"])

    consume("a", stage_a, "b")
    consume("b", stage_b, "c")
    consume("c", stage_c, "done")
    await broker.start()
    try:
        await _send(broker, WARM_UP, asked.size, done)
        meter = Meter()
        meter.start()
        await _send(broker, asked.count, asked.size, done)
        return meter.stop()
    finally:
        await broker.stop()
        await _delete_stream()


async def _delete_stream() -> None:
    connection = await nats.connect(SERVER)
    await connection.jetstream().delete_stream(NAME)
    await connection.close()


async def _send(broker: NatsBroker, count: int, size: int, done: asyncio.Queue[int]) -> None:
    for number in range(count):
        await broker.publish(payload(number, size), f"{NAME}.a", stream=NAME)
    missing = set(range(count))
    async with asyncio.timeout(300):
        while missing:
            missing.discard(await done.get())


if __name__ == "__main__":
    answer(asyncio.run(run(assignment())))
