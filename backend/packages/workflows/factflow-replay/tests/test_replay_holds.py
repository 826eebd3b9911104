"""A replay holds what it reads, until it has completed."""

from __future__ import annotations

from pathlib import Path

import pytest

from factflow_replay.replay.errors import ReplayEmptyError
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform, platform_in

PIPELINE = """
version: "1.0"
routes:
  up:
    inbound: {queue: up}
    adapters:
      - {type: fan, config: {count: 3}}
      - {type: fail, stage: picky, config: {numbers: [1]}}
    outbound: down
  down:
    inbound: {queue: down}
    adapters: [{type: echo, stage: last}]
init_message: {route: up}
"""
MENDED = {"up.picky.numbers": [99]}


async def start(platform: Platform, source: str, **more: object) -> str:
    request = ReplayRequest(source, "fan", **more)  # type: ignore[arg-type]  # as a caller spells it
    return (await platform.replays.replay(request)).execution.execution_id


async def test_sources_are_held_from_the_request_to_the_completed_end(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    held_by = platform.executions.holds.held_by
    await platform.pauses.pause("up")
    first = await start(platform, source, overrides=MENDED)
    second = await start(platform, source, overlays=(first,), overrides=MENDED)
    assert await held_by(source) == [first, second]
    assert await held_by(first) == [second]
    await platform.pauses.resume("up")
    for replay in (first, second):
        assert (await platform.end(replay)).status == "completed"
    assert await held_by(source) == []
    assert await held_by(first) == []


async def test_a_replay_that_failed_or_was_cancelled_keeps_its_source(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    failed = await start(platform, source)
    assert (await platform.end(failed)).status == "failed"
    await platform.pauses.pause("up")
    cancelled = await start(platform, source)
    await platform.executions.cancel(cancelled, 0.0)
    assert await platform.executions.holds.held_by(source) == [failed, cancelled]


async def test_a_request_that_came_to_nothing_holds_nothing(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    with pytest.raises(ReplayEmptyError):
        await start(platform, source, where=("n=nowhere",))
    assert await platform.executions.holds.held_by(source) == []


async def test_holds_of_dead_requests_go_at_the_next_start(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as platform:
        source = (await platform.run(PIPELINE)).execution_id
        failed = await start(platform, source)
        await platform.end(failed)
        await platform.executions.holds.take("a request that died", [source])
        assert len(await platform.executions.holds.held_by(source)) == 2
    async with platform_in(tmp_path) as platform:
        assert await platform.executions.holds.held_by(source) == [failed]
