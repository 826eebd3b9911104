"""A process that publishes and settles is killed; the queue's file tells the truth afterwards.

Run as a program, this file is that process: it tells on standard output what was confirmed to it.
"""

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factflow_infra.queue import EmbeddedQueue
from factflow_protocols.queue import Delivery, OutgoingMessage, QueueScope

SCOPE = QueueScope("01890000-0000-7000-8000-00000000000c")
CHILDREN = 2
POINTS = [
    f"queue.{act}.{side}:{nth}"
    for act in ("publish", "settle", "put_back")
    for side in ("before", "after")
    for nth in (1, 7)
]


def tell(word: str, name: str) -> None:
    os.write(1, f"{word} {name}\n".encode())


def children_of(name: str) -> list[OutgoingMessage]:
    return [OutgoingMessage("out", f"{name}/{n}", b"child") for n in range(CHILDREN)]


async def work_until_killed(path: Path) -> None:
    queue = EmbeddedQueue(path, memory_limit=50)
    await queue.open(SCOPE)
    consumer = queue.subscribe(SCOPE, "in")

    async def publish(publisher: int) -> None:
        for number in range(100_000):
            names = [f"{publisher}.{number}.{n}" for n in range(1 + number % 3)]
            await queue.publish(SCOPE, [OutgoingMessage("in", name, b"x" * 500) for name in names])
            for name in names:
                tell("published", name)

    async def handle(delivery: Delivery) -> None:
        if delivery.body != b"again" and delivery.message_id.endswith("7.0"):
            await queue.put_back(delivery, b"again", time.time() + 0.001)
            return
        await queue.settle(delivery, children=children_of(delivery.message_id))
        tell("settled", delivery.message_id)

    async def consume() -> None:
        while True:
            await handle(await consumer.take())

    await asyncio.gather(*(publish(n) for n in range(5)), *(consume() for _ in range(10)))


def run_and_kill(
    path: Path, *, point: str = "", after_lines: int = 1_000_000
) -> dict[str, set[str]]:
    """Return what the process had been confirmed when it died."""
    told: dict[str, set[str]] = {"published": set(), "settled": set()}
    with subprocess.Popen(
        [sys.executable, __file__, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "FACTFLOW_CRASH_POINT": point} if point else None,
    ) as process:
        assert process.stdout is not None
        for count, line in enumerate(process.stdout, 1):
            word, _, name = line.decode().strip().partition(" ")
            told[word].add(name)
            if count == after_lines:
                process.kill()
        assert process.wait() == -9
    return told


def rows_of(path: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(connection.execute("SELECT message_id, state FROM message").fetchall())


def check_file(path: Path, told: dict[str, set[str]]) -> dict[str, int]:
    rows = rows_of(path)
    settled = {name for name, state in rows.items() if state >= 2}
    assert told["published"] <= rows.keys()
    assert told["settled"] <= settled
    for parent in (name for name in rows if "/" not in name):
        found = sum(f"{parent}/{n}" in rows for n in range(CHILDREN))
        assert found == (CHILDREN if parent in settled else 0), parent
    return rows


async def drain(path: Path, rows: dict[str, int]) -> None:
    """All that stood comes again, as repeats, once each; then the scope is drained."""
    standing = sorted(name for name, state in rows.items() if state < 2)
    queue = EmbeddedQueue(path, memory_limit=50)
    try:
        progress = await queue.open(SCOPE)
        assert (progress.announced, progress.outstanding) == (len(rows), len(standing))
        depths = queue.depths(SCOPE)
        got = []
        for name, depth in depths.items():
            consumer = queue.subscribe(SCOPE, name)
            for _ in range(depth.ready + depth.delayed):
                delivery = await consumer.take()
                assert delivery.repeat
                got.append(delivery.message_id)
                await queue.settle(delivery)
        assert sorted(got) == standing
        assert (await queue.wait_drained(SCOPE)).settled == len(rows)
    finally:
        await queue.close()


@pytest.mark.parametrize("point", POINTS)
async def test_kill_at_a_crash_point(tmp_path: Path, point: str) -> None:
    path = tmp_path / "queue.db"
    told = run_and_kill(path, point=point)
    await drain(path, check_file(path, told))


@pytest.mark.parametrize("seed", range(4))
async def test_kill_at_any_moment(tmp_path: Path, seed: int) -> None:
    """Three times in a row on the same file: what one run leaves is the next one's start."""
    path = tmp_path / "queue.db"
    dice = random.Random(seed)
    published: set[str] = set()
    for _ in range(3):
        told = run_and_kill(path, after_lines=dice.randint(1, 4_000))
        published |= told["published"]
        rows = check_file(path, told)
    assert published <= rows.keys()
    await drain(path, rows)


def test_kill_amid_a_deletion_leaves_nothing_for_long(tmp_path: Path) -> None:
    """The scope cannot be found any more, and the next start removes the rest of its rows."""
    path = tmp_path / "queue.db"

    async def publish() -> None:
        queue = EmbeddedQueue(path)
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [OutgoingMessage("in", str(n), b"x") for n in range(12_000)])
        await queue.close()

    asyncio.run(publish())
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE scope SET execution_id = NULL"
        )  # as the first commit of delete does

    async def clear() -> None:
        queue = EmbeddedQueue(path)
        assert (await queue.open(SCOPE)).announced == 0
        await queue.delete(SCOPE)
        await queue.close()

    asyncio.run(clear())
    assert rows_of(path) == {}


if __name__ == "__main__":
    asyncio.run(work_until_killed(Path(sys.argv[1])))
