"""When the queue's file cannot be used: said in words, nothing half-done, and it goes on afterwards."""

import asyncio
import contextlib
import os
import resource
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from factflow_infra.queue import EmbeddedQueue
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import OutgoingMessage, Progress, QueueScope

SCOPE = QueueScope("01890000-0000-7000-8000-00000000000d")


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[EmbeddedQueue]:
    queue = EmbeddedQueue(tmp_path / "queue.db")
    yield queue
    await queue.close()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow: writes fail as they do without space."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def refusal(path: Path) -> QueueUnavailableError:
    queue = EmbeddedQueue(path)
    with pytest.raises(QueueUnavailableError) as caught:
        await queue.open(SCOPE)
    await queue.close()
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


async def test_full_disk_costs_no_message_and_repeats_do_no_harm(queue: EmbeddedQueue) -> None:
    """Publish, settle, put back and release fail whole; the same calls succeed once there is room."""
    await queue.open(SCOPE)
    consumer = queue.subscribe(SCOPE, "in")
    await queue.publish(SCOPE, [OutgoingMessage("in", name, b"x") for name in ("a", "b", "c")])
    settled, later, released = [await consumer.take() for _ in range(3)]
    children = [OutgoingMessage("out", f"child-{n}", b"x" * 2000) for n in range(50)]
    new = [OutgoingMessage("in", f"new-{n}", b"x" * 2000) for n in range(50)]

    def acts() -> list[asyncio.Task[None]]:
        return [
            asyncio.create_task(queue.settle(settled, children=children)),
            asyncio.create_task(queue.put_back(later, b"again", 0.0)),
            asyncio.create_task(queue.release(released)),
            asyncio.create_task(queue.publish(SCOPE, new)),
        ]

    with full_disk():
        results = await asyncio.gather(*acts(), return_exceptions=True)
    assert [type(result) for result in results] == [QueueUnavailableError] * 4
    assert await queue.progress(SCOPE) == Progress(3, 0, 0)
    assert queue.depths(SCOPE)["in"].in_flight == 3

    await asyncio.gather(*acts())
    assert await queue.progress(SCOPE) == Progress(103, 1, 0)
    for _ in range(52):
        await queue.settle(await consumer.take())
    out = queue.subscribe(SCOPE, "out")
    for _ in range(50):
        await queue.settle(await out.take())
    assert await queue.wait_drained(SCOPE) == Progress(103, 103, 0)


async def test_one_bad_message_does_not_fail_its_neighbours(queue: EmbeddedQueue) -> None:
    """A lone surrogate cannot be stored; what was published in the same moment can."""
    await queue.open(SCOPE)
    results = await asyncio.gather(
        queue.publish(SCOPE, [OutgoingMessage("in", "good", b"x")]),
        queue.publish(
            SCOPE,
            [OutgoingMessage("in", "first of two", b"x"), OutgoingMessage("in", "\ud800", b"x")],
        ),
        queue.publish(SCOPE, [OutgoingMessage("in", "better", b"x")]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), QueueError, type(None)]
    assert await queue.progress(SCOPE) == Progress(2, 0, 0)


async def test_late_settle_that_crosses_another_counts_once(
    queue: EmbeddedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stale delivery's settle is on disk, but memory has not heard of it yet, when the fresh
    delivery settles: one of them counts, with its children; the other one's are not announced."""
    committed, go_on = threading.Event(), threading.Event()

    def hold(point: str) -> None:
        if point == "queue.settle.after":
            committed.set()
            go_on.wait(10)

    monkeypatch.setattr("factflow_infra.queue.batch.reach", hold)
    await queue.open(SCOPE)
    consumer = queue.subscribe(SCOPE, "in")
    await queue.publish(SCOPE, [OutgoingMessage("in", "a", b"x")])
    stale = await consumer.take()
    await queue.release(stale)
    late = asyncio.create_task(queue.settle(stale, children=[OutgoingMessage("out", "x", b"")]))
    await asyncio.to_thread(committed.wait, 10)
    fresh = consumer.take_nowait()
    assert fresh is not None
    settling = queue.settle(fresh, children=[OutgoingMessage("out", "y", b"")])
    others = queue.publish(SCOPE, [OutgoingMessage("in", "b", b"x")])
    both = asyncio.gather(settling, others)
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(late, both)
    assert await queue.progress(SCOPE) == Progress(3, 1, 0)
    assert (await queue.subscribe(SCOPE, "out").take()).message_id == "x"
    assert (await consumer.take()).message_id == "b"


async def test_unopened_scope_takes_no_messages(queue: EmbeddedQueue) -> None:
    with pytest.raises(QueueError, match=SCOPE.execution_id):
        await queue.publish(SCOPE, [OutgoingMessage("in", "a", b"x")])
    with pytest.raises(QueueError, match=SCOPE.execution_id):
        queue.subscribe(SCOPE, "in")


async def test_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    path.write_bytes(b"not a database, but long enough to be asked for its header" * 100)
    before = path.read_bytes()
    assert "damaged" in (await refusal(path)).message
    assert path.read_bytes() == before


async def test_foreign_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    assert "not one that holds" in (await refusal(path)).message
    assert path.read_bytes() == before


async def test_file_of_a_newer_version_is_refused(queue: EmbeddedQueue, tmp_path: Path) -> None:
    await queue.open(SCOPE)
    await queue.close()
    path = tmp_path / "queue.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "newer" in (await refusal(path)).message


async def test_damaged_file_is_refused(queue: EmbeddedQueue, tmp_path: Path) -> None:
    await queue.open(SCOPE)
    await queue.publish(SCOPE, [OutgoingMessage("in", str(n), b"x" * 900) for n in range(500)])
    await queue.close()
    path = tmp_path / "queue.db"
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    assert "damaged" in (await refusal(path)).message


async def test_missing_folder_is_named(tmp_path: Path) -> None:
    assert "cannot be opened" in (await refusal(tmp_path / "absent" / "queue.db")).message


async def test_second_queue_on_the_same_file_is_refused(
    queue: EmbeddedQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection per file is enforced, not hoped for."""
    monkeypatch.setattr("factflow_infra.queue.schema.BUSY_SECONDS", 0.05)
    await queue.open(SCOPE)
    assert "in use" in (await refusal(tmp_path / "queue.db")).message
    await queue.publish(SCOPE, [OutgoingMessage("in", "a", b"x")])


async def test_queue_can_be_tried_again_after_a_failed_start(tmp_path: Path) -> None:
    queue = EmbeddedQueue(tmp_path / "later" / "queue.db")
    with pytest.raises(QueueUnavailableError):
        await queue.open(SCOPE)
    (tmp_path / "later").mkdir()
    assert await queue.open(SCOPE) == Progress(0, 0, 0)
    await queue.close()
