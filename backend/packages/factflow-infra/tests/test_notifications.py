"""Notifications between processes on one PostgreSQL: they arrive, also after the session was lost."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from factflow_foundation.notifications import MOST_SUBJECTS, Topic
from factflow_infra import notifications as module
from factflow_infra.notifications import PostgresNotifications
from factflow_testing.postgres_schemas import fresh_schema
from factflow_testing.tcp_gate import TcpGate
from factflow_testing.waiting import eventually

KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1"
OURS = f"factflow notifications of process {os.getpid()} on %"


class Server:
    """One of several, and what it heard of executions and of pauses."""

    def __init__(self, url: str) -> None:
        self.notifications = PostgresNotifications(url, "here")
        self.heard: list[str | None] = []
        self.pauses: list[str | None] = []
        self.notifications.listen("execution", self.heard.append)
        self.notifications.listen("pauses", self.pauses.append)

    def tell(self, subject: str, topic: Topic = "execution") -> None:
        """Tell all servers."""
        self.notifications.tell(topic, subject)

    async def has_heard(self, *subjects: str | None) -> None:
        """Wait until it has heard all of these, and forget what it heard."""
        await eventually(lambda: set(subjects) <= set(self.heard))
        self.heard.clear()


@asynccontextmanager
async def server(url: str) -> AsyncIterator[Server]:
    """Run one, connected."""
    one = Server(url)
    await one.notifications.start()
    try:
        await one.has_heard(None)  # the session has begun
        yield one
    finally:
        await one.notifications.close()


@pytest.fixture
def url() -> Iterator[str]:
    with fresh_schema() as url:
        yield url


@pytest.fixture
def gate(url: str) -> Iterator[TcpGate]:
    parts = urlsplit(url)
    with TcpGate(parts.hostname or "", parts.port or 5432) as gate:
        yield gate


def behind(gate: TcpGate, url: str) -> str:
    """Return the URL of the database through the gate."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{gate.port}"))


async def test_each_server_hears_what_any_of_them_tells_once(url: str) -> None:
    with fresh_schema() as elsewhere:
        async with server(url) as one, server(url) as two, server(elsewhere) as stranger:
            one.tell("a")
            await eventually(lambda: two.heard == ["a"])
            two.tell("b")
            await eventually(lambda: one.heard == ["a", "b"])
            one.tell("end", "pauses")
            await eventually(lambda: two.pauses[-1:] == ["end"])
            assert two.heard == ["a", "b"]
            stranger.tell("c")
            await eventually(lambda: stranger.heard == ["c"])
            assert one.heard == ["a", "b"]


async def test_a_session_that_was_killed_is_made_again_and_everything_looked_at(url: str) -> None:
    async with server(url) as one, server(url) as two:
        connection = await asyncpg.connect(url)
        assert len(await connection.fetch(KILL, OURS)) == 2
        await connection.close()
        await one.has_heard(None)
        await two.has_heard(None)
        two.tell("after")
        await one.has_heard("after")


async def test_what_is_told_during_an_outage_is_heard_here_at_once_and_elsewhere_after_it(
    url: str, gate: TcpGate
) -> None:
    async with server(url) as one, server(behind(gate, url)) as two:
        gate.shut()
        two.tell("mine")
        await two.has_heard("mine")
        await eventually(lambda: not two.notifications.connected)
        one.tell("missed")
        await one.has_heard("missed")
        gate.open()
        await two.has_heard(None)
        await one.has_heard("mine")


async def test_a_session_that_fell_silent_is_given_up(
    url: str, gate: TcpGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.5)
    async with server(url) as one, server(behind(gate, url)) as two:
        gate.hold()
        await eventually(lambda: not two.notifications.connected)
        gate.open()
        await two.has_heard(None)
        one.tell("after")
        await two.has_heard("after")


async def test_a_database_that_comes_late_is_waited_for(url: str, gate: TcpGate) -> None:
    gate.shut()
    late = Server(behind(gate, url))
    await late.notifications.start()
    late.tell("early")
    await late.has_heard("early")
    async with server(url) as one:
        gate.open()
        await late.has_heard(None)
        await one.has_heard("early")
        await late.notifications.close()


async def test_many_and_long_subjects_arrive_or_stand_for_everything(url: str) -> None:
    async with server(url) as one, server(url) as two:
        many = [f"{number} “é\n\0” {'x' * 50}" for number in range(MOST_SUBJECTS)]
        for subject in many:
            one.tell(subject)
        await two.has_heard(*many)
        for number in range(MOST_SUBJECTS + 1):
            one.tell(str(number))
        await two.has_heard(None)
        one.tell("y" * 10_000)
        await two.has_heard(None)
        one.tell("\ud800")  # which is no text
        await two.has_heard(None)
        one.tell("end")
        await two.has_heard("end")


async def test_words_that_are_not_ours_have_everything_looked_at(url: str) -> None:
    async with server(url) as one:
        connection = await asyncpg.connect(url)
        schema = await connection.fetchval("SELECT current_schema()")
        for words in ("", "hello", '[["execution", 7]]'):
            await connection.execute("SELECT pg_notify($1, $2)", module._channel(schema), words)
            await one.has_heard(None)
        await connection.close()


async def test_what_is_told_last_is_sent_before_the_end(url: str) -> None:
    async with server(url) as one:
        async with server(url) as two:
            two.tell("last")
        await one.has_heard("last")
        assert two.heard == []  # nobody is called after closing
        two.tell("later")
