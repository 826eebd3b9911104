"""A pause is an intent in the database: it outlives the process that took it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import text

from factflow_execution.route_pauses import PauseOverError, RouteNameError
from factflow_testing.execution_database import execution_database
from factflow_testing.platform import Platform, platform_in
from factflow_testing.waiting import eventually

PIPELINE = """
version: "1.0"
routes:
  up:
    inbound: {queue: up}
    adapters: [{type: fan, config: {count: 5}}, {type: echo}]
    outbound: down
  down:
    inbound: {queue: down}
    adapters: [{type: echo, stage: last}]
init_message: {route: up}
"""


async def waits_at_down(platform: Platform, execution_id: str) -> None:
    def five_wait() -> bool:
        routes = {r.route_id: r for r in platform.engine.manager.runtime(execution_id)}
        return "down" in routes and (routes["down"].state, routes["down"].ready) == ("paused", 5)

    await eventually(five_wait)


async def test_a_paused_route_comes_back_paused(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as first:
        await first.pauses.pause("down", reason="the model moves", paused_by="ada")
        execution = await first.start(PIPELINE)
        await waits_at_down(first, execution.execution_id)
    async with platform_in(tmp_path) as second:
        await waits_at_down(second, execution.execution_id)
        [pause] = await second.pauses.all()
        assert (pause.route_id, pause.reason, pause.paused_by) == ("down", "the model moves", "ada")
        assert await second.pauses.resume("down")
        assert (await second.end(execution.execution_id)).status == "completed"
        assert len(await second.engine.outputs(execution.execution_id, "down", "last")) == 5
    async with platform_in(tmp_path) as third:
        assert await third.pauses.all() == []
        assert (await third.run(PIPELINE)).status == "completed"


async def test_pausing_again_keeps_the_time_and_what_was_said(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as platform:
        first = await platform.pauses.pause("down", reason="why", paused_by="ada")
        assert await platform.pauses.pause("down") == first
        second = await platform.pauses.pause("down", reason="another why")
        assert (second.paused_at, second.paused_by) == (first.paused_at, "ada")
        assert second.reason == "another why"
        assert await platform.pauses.all() == [second]


async def test_a_pause_with_an_end_ends_by_itself(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as platform:
        await platform.pauses.pause("up", until=time.time() + 3600)
        await platform.pauses.pause("down", until=time.time() + 0.2)
        execution = await platform.start(PIPELINE)
        assert {p.route_id for p in await platform.pauses.all()} == {"up", "down"}
        await platform.pauses.resume("up")
        assert (await platform.end(execution.execution_id)).status == "completed"
        assert await platform.pauses.all() == []


async def test_a_pause_ends_also_when_no_server_was_there_at_that_time(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as first:
        await first.pauses.pause("up", until=time.time() + 3600)
        await first.pauses.pause("down")
    engine = await execution_database(tmp_path)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE route_pause SET until = 1 WHERE route_id = 'up'"))
    await engine.dispose()
    async with platform_in(tmp_path) as second:
        assert [p.route_id for p in await second.pauses.all()] == ["down"]
        await waits_at_down(second, (await second.start(PIPELINE)).execution_id)


async def test_the_last_request_says_when_a_pause_ends(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as platform:
        await platform.pauses.pause("down", until=time.time() + 3600)
        assert (await platform.pauses.pause("down")).until is None
        with pytest.raises(PauseOverError):
            await platform.pauses.pause("down", until=time.time() - 1)
        assert (await platform.pauses.all())[0].until is None


async def test_resuming_what_is_not_paused_is_told(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as platform:
        assert not await platform.pauses.resume("down")


@pytest.mark.parametrize("name", ["", "../up", "a route", "_x", "x" * 101])
async def test_a_name_that_no_route_can_have_is_refused(tmp_path: Path, name: str) -> None:
    async with platform_in(tmp_path) as platform:
        with pytest.raises(RouteNameError):
            await platform.pauses.pause(name)
        assert await platform.pauses.all() == []
