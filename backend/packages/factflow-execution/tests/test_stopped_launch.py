"""An adapter that hangs while it is opened keeps no execution from being cancelled, and no server from
stopping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from factflow_execution.models import PipelineExecution
from factflow_protocols.queue import QueueScope
from factflow_testing.platform import Platform, platform_in
from factflow_testing.waiting import eventually

ADAPTERS = "factflow_testing.hanging_adapters"
KINDS = {"waits": "Waits", "ignores": "Ignores", "blocks": "Blocks"}


def pipeline(folder: Path, kind: str) -> str:
    ready, hangs = (f"{{type: {one}, config: {{folder: '{folder}'}}}}" for one in ("ready", kind))
    return f"""\
version: "1.0"
init_message: {{route: r, payload: {{n: 1}}}}
routes: {{r: {{inbound: {{queue: q}}, adapters: [{ready}, {hangs}]}}}}
"""


@asynccontextmanager
async def one_at_a_time(folder: Path) -> AsyncIterator[Platform]:
    async with platform_in(folder, modules=(ADAPTERS,), limit=1) as platform:
        try:
            yield platform
        finally:
            (folder / "door").touch()  # nothing may hang for longer than its test


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factflow_engine.execution_routes.ABANDON_SECONDS", 0.1)


async def is_opening(platform: Platform, folder: Path, kind: str) -> PipelineExecution:
    """Wait until the adapter hangs; return the execution it belongs to."""
    await eventually((folder / f"{KINDS[kind]} opens").exists)
    [found] = (await platform.executions.list("running")).rows
    return await platform.executions.get(found.execution_id)


async def completed(platform: Platform, execution_id: str) -> PipelineExecution:
    """Wait until recovery has brought an execution to its end."""

    async def ended() -> PipelineExecution | None:
        found = await platform.executions.get(execution_id)
        return found if found.status == "completed" else None

    return await eventually(ended)


async def nothing_is_left(
    platform: Platform, folder: Path, kind: str, ended: PipelineExecution
) -> None:
    """What was opened is closed, its queues are gone, and the only slot is free."""
    assert (folder / "Ready closed").exists()
    assert (folder / f"{KINDS[kind]} closed").exists()
    scope = QueueScope(ended.execution_id, ended.generation)
    assert await platform.engine.queue.find(scope) is None
    assert platform.engine.manager.slots().taken == 0
    (folder / "door").touch()
    assert (await platform.run(pipeline(folder, kind))).status == "completed"


@pytest.mark.parametrize("kind", KINDS)
async def test_it_can_be_cancelled_while_an_adapter_hangs_in_open(
    tmp_path: Path, kind: str
) -> None:
    async with one_at_a_time(tmp_path) as platform:
        launch = asyncio.create_task(platform.start(pipeline(tmp_path, kind)))
        running = await is_opening(platform, tmp_path, kind)
        async with asyncio.timeout(5):
            done = await platform.executions.cancel(running.execution_id, 0.05)
            assert (done.previous_status, done.current_status) == ("running", "cancelled")
            launched = await launch
        assert launched == await platform.executions.get(running.execution_id)
        assert launched.status == "cancelled"
        await nothing_is_left(platform, tmp_path, kind, launched)


async def test_an_adapter_may_come_to_be_open_within_the_grace_period(tmp_path: Path) -> None:
    """The execution ends all the same, and no message of it is handled."""
    async with one_at_a_time(tmp_path) as platform:
        launch = asyncio.create_task(platform.start(pipeline(tmp_path, "waits")))
        running = await is_opening(platform, tmp_path, "waits")
        cancelling = asyncio.create_task(platform.executions.cancel(running.execution_id, 3600.0))

        async def asked() -> bool:
            return (await platform.executions.get(running.execution_id)).cancel_requested

        await eventually(asked)
        assert not cancelling.done()
        (tmp_path / "door").touch()
        assert (await cancelling).current_status == "cancelled"
        await nothing_is_left(platform, tmp_path, "waits", await launch)
        assert await platform.engine.records(running.execution_id, "r", "ready") == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_stops_meanwhile_leaves_it_interrupted_and_the_next_runs_it(
    tmp_path: Path, kind: str
) -> None:
    async with one_at_a_time(tmp_path) as platform:
        launch = asyncio.create_task(platform.start(pipeline(tmp_path, kind)))
        running = await is_opening(platform, tmp_path, kind)
        async with asyncio.timeout(5):
            await platform.executions.close(0.05)
            assert (await launch).status == "interrupted"
        assert (tmp_path / "Ready closed").exists()
    async with one_at_a_time(tmp_path) as platform:
        ended = await completed(platform, running.execution_id)
        assert (ended.message_count, ended.recoveries) == (1, 1)


@pytest.mark.parametrize("ends", ["cancelled", "interrupted"])
async def test_the_same_holds_for_one_that_recovery_takes_up(tmp_path: Path, ends: str) -> None:
    """Its queues are there already: cancelled they go, interrupted they stay for the next start."""
    (tmp_path / "door").touch()
    (tmp_path / "stuck").touch()
    async with one_at_a_time(tmp_path) as platform:
        started = await platform.start(pipeline(tmp_path, "blocks"))
        await eventually(lambda: platform.engine.manager.runtime(started.execution_id)[0].in_flight)
    for name in ("door", "stuck", "Ready closed", "Blocks closed", "Blocks opens"):
        (tmp_path / name).unlink()
    async with one_at_a_time(tmp_path) as platform:
        running = await is_opening(platform, tmp_path, "blocks")
        assert running.execution_id == started.execution_id
        async with asyncio.timeout(5):
            if ends == "cancelled":
                await platform.executions.cancel(started.execution_id, 0.05)
                found = await platform.executions.get(started.execution_id)
                assert (found.status, found.recoveries) == ("cancelled", 0)
                await nothing_is_left(platform, tmp_path, "blocks", found)
                return
            await platform.executions.close(0.05)
            found = await platform.executions.get(started.execution_id)
            assert (found.status, found.recoveries) == ("interrupted", 0)
    async with one_at_a_time(tmp_path) as platform:
        assert (await completed(platform, started.execution_id)).message_count == 1
