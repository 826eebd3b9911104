"""One server for each database, also when the database goes and comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from factflow_infra import database_lock
from factflow_infra.database_lock import DatabaseLock, DatabaseLockedError
from factflow_testing.postgres_schemas import fresh_schema
from factflow_testing.tcp_gate import TcpGate
from factflow_testing.waiting import eventually


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(database_lock, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(database_lock, "RETRY_SECONDS", 0.02)
    with fresh_schema() as url:
        yield url


async def test_a_second_server_is_refused_with_the_first_ones_pid(url: str) -> None:
    first, second = DatabaseLock(url, "here"), DatabaseLock(url, "here")
    await first.take()
    with pytest.raises(DatabaseLockedError, match=f"here .*process {os.getpid()}"):
        await second.take()
    with fresh_schema() as elsewhere:
        other = DatabaseLock(elsewhere, "there")  # has nothing to do with it
        await other.take()
        await other.release()
    await first.release()
    await second.take()
    await second.release()


async def test_a_lock_that_was_lost_is_taken_again_unless_another_has_it(url: str) -> None:
    parts = urlsplit(url)
    with TcpGate(parts.hostname or "", parts.port or 5432) as gate:
        behind = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{gate.port}"))
        lock, other = DatabaseLock(behind, "here"), DatabaseLock(url, "here")
        await lock.take()
        gate.shut()

        async def other_takes_it() -> bool:
            try:
                await other.take()
            except DatabaseLockedError:
                return False
            return True

        await eventually(other_takes_it)
        gate.open()
        await eventually(lambda: lock.lost)
        assert str(os.getpid()) in str(lock.lost)
        await other.release()
        await eventually(lambda: lock.lost is None)
        assert not await other_takes_it()
        await lock.release()
