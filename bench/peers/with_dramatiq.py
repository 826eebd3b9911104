"""Dramatiq on Redis: an actor for each stage, which sends to the next; worker threads in this process.

What it keeps: each message in Redis until its actor has returned, and the results in a list. How durable
that is depends on the Redis server: without its append-only file, in its memory.
"""

from __future__ import annotations

import json
import os
import time

import dramatiq
import redis
from cost import Cost, Meter
from dramatiq.brokers.redis import RedisBroker
from peers.assignment import CONCURRENCY, WARM_UP, Assignment, answer, assignment
from work import Payload, payload, stage_a, stage_b, stage_c

SERVER = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/9")
NAME = f"factflow-bench-{os.getpid()}"
RESULTS = f"{NAME}:results"
LONGEST = 300

client = redis.Redis.from_url(SERVER)
broker = RedisBroker(url=SERVER, namespace=NAME)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="c")
def actor_c(item: Payload) -> None:
    client.rpush(RESULTS, json.dumps(stage_c(item)))


@dramatiq.actor(queue_name="b")
def actor_b(item: Payload) -> None:
    actor_c.send(stage_b(item))


@dramatiq.actor(queue_name="a")
def actor_a(item: Payload) -> None:
    actor_b.send(stage_a(item))


def run(asked: Assignment) -> Cost:
    """Send everything through the three actors; their keys are deleted at the end."""
    worker = dramatiq.Worker(broker, worker_threads=CONCURRENCY, worker_timeout=50)
    worker.start()
    try:
        _send(WARM_UP, asked.size)
        meter = Meter()
        meter.start()
        _send(asked.count, asked.size)
        return meter.stop()
    finally:
        worker.stop()
        for key in list(client.scan_iter(f"{NAME}*")):
            client.delete(key)


def _send(count: int, size: int) -> None:
    """Send that many messages and wait for their results."""
    client.delete(RESULTS)
    deadline = time.monotonic() + LONGEST
    for number in range(count):
        actor_a.send(payload(number, size))
    while client.llen(RESULTS) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{client.llen(RESULTS)} of {count} results")
        time.sleep(0.002)


if __name__ == "__main__":
    answer(run(assignment()))
