"""A ledger's transaction that its caller gives up comes to its end, on the one connection that may write."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import event

from factflow_infra.database import sqlite_engine
from factflow_infra.queue.ledger.ledger import Ledger
from factflow_protocols.queue import QueueScope

SCOPE = QueueScope("cut")
IDS = [str(number) for number in range(50_000)]
"""So many that a look-up is under way for a while."""
TIMES = 5


def locked(path: Path) -> bool:
    """Tell whether somebody is about to write the file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
        return False


async def test_a_caller_that_gives_up_leaves_the_one_connection_as_it_was(tmp_path: Path) -> None:
    """Once it is told that it was cancelled, anybody may write; no second connection was made for that."""
    path = tmp_path / "ledger.db"
    engine = sqlite_engine(path, durability="fsync")
    made: list[object] = []
    event.listen(engine.sync_engine, "connect", lambda connection, _: made.append(connection))
    ledger = Ledger(engine)
    await ledger.start()
    entry = await ledger.open(SCOPE, publisher=False, boot=None)
    for _ in range(TIMES):
        reading = asyncio.create_task(ledger.entries(entry, IDS))
        while not locked(path):
            assert not reading.done()
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not locked(path)
    assert await ledger.find(SCOPE) is not None
    assert len(made) == 1
    await engine.dispose()
