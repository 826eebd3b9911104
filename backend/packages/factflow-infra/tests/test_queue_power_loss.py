"""After the machine went down, the queue is trusted only when it wrote through to the disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pytest

from factflow_infra.boot import boot_id
from factflow_infra.queue import EmbeddedQueue
from factflow_protocols.queue import OutgoingMessage, Progress, QueueScope

SCOPE = QueueScope("01890000-0000-7000-8000-00000000000c")
Durability = Literal["os", "fsync"]


async def left_by(folder: Path, boot: str | None, durability: Durability, *, clean: bool) -> Path:
    """A queue's file with one message, as a run under this boot left it."""
    path = folder / "queue.db"
    queue = EmbeddedQueue(path, boot=boot, durability=durability)
    await queue.open(SCOPE)
    await queue.publish(SCOPE, [OutgoingMessage("in", "m", b"body")])
    left = folder / "left"
    left.mkdir()
    if clean:
        await queue.close()
    copy_files(folder, left)  # of a run that goes on: what a crash leaves
    await queue.close()
    return left / "queue.db"


def copy_files(folder: Path, left: Path) -> None:
    for file in folder.glob("queue.db*"):
        shutil.copy(file, left)


@pytest.mark.parametrize(
    ("durability", "before", "after", "clean", "trusted"),
    [
        ("os", "monday", "tuesday", False, False),
        ("os", "monday", "monday", False, True),
        ("os", "monday", "tuesday", True, True),
        ("fsync", "monday", "tuesday", False, True),
        ("os", None, "tuesday", False, True),
        ("os", "monday", None, False, False),
    ],
)
async def test_what_the_machine_took_with_it_decides(
    tmp_path: Path,
    durability: Durability,
    before: str | None,
    after: str | None,
    clean: bool,
    trusted: bool,
) -> None:
    path = await left_by(tmp_path, before, durability, clean=clean)
    queue = EmbeddedQueue(path, boot=after, durability="os")
    assert await queue.find(SCOPE) == (Progress(1, 0, 0) if trusted else None)
    consumer_found = queue.subscribe(SCOPE, "in") if trusted else None
    if consumer_found is not None:
        delivery = await consumer_found.take()
        assert (delivery.message_id, delivery.repeat) == ("m", not clean)
    await queue.close()


async def test_a_lost_scope_can_be_made_anew_in_the_same_file(tmp_path: Path) -> None:
    path = await left_by(tmp_path, "monday", "os", clean=False)
    queue = EmbeddedQueue(path, boot="tuesday")
    again = QueueScope(SCOPE.execution_id, 2)
    assert await queue.open(again) == Progress(0, 0, 0)
    await queue.publish(again, [OutgoingMessage("in", "m", b"other body")])
    assert (await queue.subscribe(again, "in").take()).body == b"other body"
    await queue.close()
    third = EmbeddedQueue(path, boot="tuesday")
    assert await third.find(SCOPE) is None
    assert await third.find(again) == Progress(1, 0, 0)
    await third.close()


def test_this_machine_says_which_run_it_is() -> None:
    assert boot_id()
    assert boot_id() == boot_id()
