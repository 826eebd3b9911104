"""What one process says, every other one on the same database hears, also after sessions were lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from factflow_infra.notifications import PostgresNotifications
from factflow_testing.postgres_schemas import fresh_schema
from factflow_testing.tcp_gate import TcpGate
from factflow_testing.waiting import eventually


@pytest.fixture
def url() -> Iterator[str]:
    with fresh_schema() as url:
        yield url


@pytest.fixture
async def two(url: str) -> AsyncIterator[tuple[PostgresNotifications, PostgresNotifications]]:
    one, other = PostgresNotifications(url), PostgresNotifications(url)
    await one.start()
    await other.start()
    yield one, other
    await one.close()
    await other.close()


async def test_all_listeners_hear_a_word_and_strangers_do_not(
    two: tuple[PostgresNotifications, PostgresNotifications],
) -> None:
    heard: list[tuple[str, str]] = []
    one, other = two
    one.listen("execution", lambda subject: heard.append(("one", subject)))
    end = other.listen("execution", lambda subject: heard.append(("other", subject)))
    other.listen("pauses", lambda subject: heard.append(("pauses", subject)))
    with fresh_schema() as elsewhere:
        stranger = PostgresNotifications(elsewhere)
        await stranger.start()
        stranger.listen("execution", lambda subject: heard.append(("stranger", subject)))
        one.tell("execution", "a")
        await eventually(lambda: sorted(heard) == [("one", "a"), ("other", "a")])
        await stranger.close()
    end()
    one.tell("execution", "b")
    await eventually(lambda: ("one", "b") in heard)
    assert ("other", "b") not in heard


async def test_after_a_lost_session_everything_is_looked_at(url: str) -> None:
    heard: list[str] = []
    parts = urlsplit(url)
    with TcpGate(parts.hostname or "", parts.port or 5432) as gate:
        behind = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{gate.port}"))
        one, other = PostgresNotifications(url), PostgresNotifications(behind)
        await one.start()
        await other.start()
        other.listen("execution", heard.append)
        gate.shut()
        await eventually(lambda: other.trouble is not None)
        one.tell("execution", "missed")
        other.tell("execution", "late")
        gate.open()
        await eventually(lambda: "" in heard and "late" in heard)
        assert other.trouble is None
        await one.close()
        await other.close()


async def test_a_word_told_while_the_session_is_lost_is_told_later(
    two: tuple[PostgresNotifications, PostgresNotifications],
) -> None:
    heard: list[str] = []
    one, other = two
    other.listen("rest", heard.append)
    for number in range(2_000):
        one.tell("rest", str(number))
    await eventually(lambda: "1999" in heard)
    assert len([word for word in heard if word]) == 1_000
