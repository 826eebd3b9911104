"""Notifications within one process: who listens is told once, whatever the others do."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from factflow_foundation.notifications import MOST_SUBJECTS, LocalNotifications


async def turn() -> None:
    """Let the loop turn until what was told before has arrived."""
    arrived = asyncio.Event()
    asyncio.get_running_loop().call_soon(arrived.set)
    await arrived.wait()


async def test_what_is_told_at_one_moment_arrives_once_and_only_where_it_is_listened_to() -> None:
    notifications = LocalNotifications()
    executions: list[str | None] = []
    pauses: list[str | None] = []
    notifications.listen("execution", executions.append)
    notifications.listen("pauses", pauses.append)
    for subject in ("a", "b", "a"):
        notifications.tell("execution", subject)
    assert executions == []  # not within the call
    await turn()
    assert executions == ["a", "b"]
    notifications.tell("execution", "a")
    await turn()
    assert executions == ["a", "b", "a"]
    assert pauses == []


async def test_a_multitude_is_everything() -> None:
    notifications = LocalNotifications()
    heard: list[str | None] = []
    notifications.listen("execution", heard.append)
    for number in range(MOST_SUBJECTS + 2):
        notifications.tell("execution", str(number))
    await turn()
    assert heard == [None]


async def test_a_listener_that_fails_or_leaves_keeps_nobody_from_being_told() -> None:
    notifications = LocalNotifications()
    heard: list[str | None] = []
    left: list[str | None] = []

    def fails(_subject: str | None) -> NoReturn:
        leave()
        raise RuntimeError("a listener's own")

    notifications.listen("execution", fails)
    leave = notifications.listen("execution", left.append)
    notifications.listen("execution", heard.append)
    notifications.tell("execution", "a")
    await turn()
    assert (heard, left) == (["a"], [])
    leave()  # again, which is nothing
    notifications.tell("execution", "b")
    await notifications.close()
    notifications.tell("execution", "c")
    await turn()
    assert heard == ["a"]
