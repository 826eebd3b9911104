"""The publisher of a replay: how far it is can be seen, and it ends with its execution."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from factflow_execution.progress import PlanProgress, ProgressService
from factflow_execution.runtimes import Runtimes
from factflow_protocols.queue import OutgoingMessage, QueueScope
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform
from factflow_testing.waiting import eventually

PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start, concurrency: 1}
    adapters:
      - {type: fan, config: {count: 700}}
      - {type: keep, config: {below: 0}}
init_message: {route: first}
"""


@pytest.fixture
def gate(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """A queue that takes no item of a plan behind the first 500 before the gate is opened."""
    queue = platform.engine.queue
    opened, publish = asyncio.Event(), queue.publish

    async def held(
        scope: QueueScope, messages: Sequence[OutgoingMessage], *, cursor: int | None = None
    ) -> None:
        if cursor is not None and cursor > 500:
            await opened.wait()
        await publish(scope, messages, cursor=cursor)

    monkeypatch.setattr(queue, "publish", held)
    return opened


async def published(platform: Platform, execution_id: str) -> PlanProgress | None:
    progress = ProgressService(platform.engine.rows, Runtimes(platform.engine.manager))
    return await progress.plan(await platform.executions.get(execution_id))


async def held_replay(platform: Platform) -> str:
    """Start a replay, and return when it has published what the gate lets through."""
    source = (await platform.run(PIPELINE)).execution_id
    result = await platform.replays.replay(ReplayRequest(source, "fan"))
    execution_id = result.execution.execution_id

    async def is_held() -> bool:
        return await published(platform, execution_id) == PlanProgress(500, 700)

    await eventually(is_held)
    return execution_id


def tasks_of(execution_id: str) -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if execution_id in task.get_name()]


async def test_an_execution_does_not_end_before_its_plan_is_published(
    platform: Platform, gate: asyncio.Event
) -> None:
    execution_id = await held_replay(platform)

    async def all_that_came_is_done() -> bool:
        return (await platform.engine.queue.progress(QueueScope(execution_id))).outstanding == 1

    await eventually(all_that_came_is_done)
    assert (await platform.executions.get(execution_id)).status == "running"
    gate.set()
    ended = await platform.end(execution_id)
    assert (ended.status, ended.message_count) == ("completed", 700)
    assert await published(platform, execution_id) is None


async def test_cancelling_a_replay_ends_its_publisher(
    platform: Platform, gate: asyncio.Event
) -> None:
    execution_id = await held_replay(platform)
    assert any(task.get_name().endswith("/publisher") for task in tasks_of(execution_id))
    await platform.executions.cancel(execution_id, 0.0)
    assert not gate.is_set()
    ended = await platform.executions.get(execution_id)
    assert (ended.status, ended.message_count) == ("cancelled", 500)
    await eventually(lambda: not tasks_of(execution_id))
