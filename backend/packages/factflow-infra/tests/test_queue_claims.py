"""What claims cost in the embedded queue, and that a file of the format before them is brought along."""

import asyncio
import contextlib
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from factflow_infra.queue import EmbeddedQueue
from factflow_protocols.queue import OutgoingMessage, QueueScope

SCOPE = QueueScope("01890000-0000-7000-8000-00000000000e")
COUNT = 60

FORMAT_1 = """
CREATE TABLE condition (
    only INTEGER PRIMARY KEY CHECK (only = 1), clean INTEGER NOT NULL, repeat_below INTEGER NOT NULL
);
CREATE TABLE scope (
    id INTEGER PRIMARY KEY, execution_id TEXT, generation INTEGER NOT NULL,
    publisher INTEGER NOT NULL DEFAULT 0, cursor INTEGER NOT NULL DEFAULT 0,
    UNIQUE (execution_id, generation)
);
CREATE TABLE message (
    seq INTEGER PRIMARY KEY, scope INTEGER NOT NULL, message_id TEXT NOT NULL, queue TEXT NOT NULL,
    state INTEGER NOT NULL, not_before REAL NOT NULL, repeat INTEGER NOT NULL DEFAULT 0, body BLOB,
    UNIQUE (scope, message_id)
);
CREATE INDEX standing ON message (scope, queue, state) WHERE state < 2;
INSERT INTO condition VALUES (1, 0, 0);
INSERT INTO scope VALUES (1, '01890000-0000-7000-8000-00000000000e', 1, 1, 7);
INSERT INTO message VALUES (1, 1, 'a', 'in', 0, 0, 0, 'body');
PRAGMA application_id = 0x46464c51;
PRAGMA user_version = 1;
"""


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many transactions held acts of each kind."""
    seen: Counter[str] = Counter()

    def count(point: str) -> None:
        if point.endswith(".after"):
            seen[point.removeprefix("queue.").removesuffix(".after")] += 1

    monkeypatch.setattr("factflow_infra.queue.batch.reach", count)
    return seen


async def handle_all(path: Path) -> None:
    queue = EmbeddedQueue(path)
    await queue.open(SCOPE)
    messages = [OutgoingMessage("in", str(number), b"x") for number in range(COUNT)]
    await queue.publish(SCOPE, messages)
    consumer = queue.subscribe(SCOPE, "in")
    deliveries = [await consumer.take() for _ in range(COUNT)]
    await asyncio.gather(*(queue.claim(delivery) for delivery in deliveries))
    await asyncio.gather(*(queue.settle(delivery) for delivery in deliveries))
    await queue.close()


async def test_before_the_first_crash_a_claim_writes_nothing(
    tmp_path: Path, transactions: Counter[str]
) -> None:
    await handle_all(tmp_path / "queue.db")
    assert transactions == {"publish": 1, "settle": 1}


async def test_after_it_claims_of_one_moment_share_a_transaction(
    tmp_path: Path, transactions: Counter[str]
) -> None:
    path, left = tmp_path / "queue.db", tmp_path / "left.db"
    queue = EmbeddedQueue(path)
    await queue.open(SCOPE)
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{left}{suffix}")
    await queue.close()
    await handle_all(left)
    assert transactions == {"publish": 1, "claim": 1, "settle": 1}


async def test_a_file_of_the_format_before_is_brought_along(tmp_path: Path) -> None:
    """Its messages stay, and the crash it was left by is the first one."""
    path = tmp_path / "queue.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(FORMAT_1)
    queue = EmbeddedQueue(path)
    progress = await queue.open(SCOPE)
    assert (progress.announced, await queue.publisher_cursor(SCOPE)) == (2, 7)
    delivery = await queue.subscribe(SCOPE, "in").take()
    assert (delivery.message_id, delivery.repeat, delivery.crashes) == ("a", True, 0)
    await queue.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
