"""Cancelling always ends, whatever an adapter makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.waiting import eventually

PIPELINE = """
version: "1.0"
routes:
  r:
    inbound: {{queue: q}}
    adapters: [{{type: {stage}, config: {config}}}]
init_message: {{route: r}}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path) as opened:
        yield opened


async def in_work(engine: EngineUnderTest, stage: str, config: str = "{}") -> str:
    execution = await engine.start(PIPELINE.format(stage=stage, config=config))
    await eventually(lambda: engine.manager.runtime(execution)[0].in_flight)
    return execution


async def test_what_is_in_hand_may_end_within_the_grace_period(
    engine: EngineUnderTest, tmp_path: Path
) -> None:
    door = tmp_path / "door"
    execution = await in_work(engine, "wait_for", f'{{path: "{door}"}}')
    cancelling = asyncio.create_task(engine.manager.cancel(execution, 60.0))
    await eventually(lambda: engine.manager.runtime(execution)[0].state == "stopped")
    door.touch()
    await cancelling
    assert (await engine.end(execution)).status == "cancelled"
    assert len(await engine.records(execution, "r", "wait_for")) == 1


@pytest.mark.parametrize("stage", ["hang", "stubborn", "blocked"])
async def test_no_adapter_can_prevent_it(
    engine: EngineUnderTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str
) -> None:
    """One waits for ever, one ignores its cancellation and its closing, one blocks a thread."""
    monkeypatch.setattr("factflow_engine.execution_routes.CLOSE_SECONDS", 0.1)
    door = tmp_path / "door"
    execution = await in_work(engine, stage, "{}" if stage == "hang" else f'{{path: "{door}"}}')
    try:
        await engine.manager.cancel(execution, 0.0)
        assert (await engine.end(execution)).status == "cancelled"
        assert not engine.manager.is_running(execution)
    finally:
        door.touch()


async def test_a_second_request_waits_for_the_same_end(engine: EngineUnderTest) -> None:
    execution = await in_work(engine, "hang")
    await asyncio.gather(*(engine.manager.cancel(execution, 0.0) for _ in range(5)))
    assert (await engine.end(execution)).status == "cancelled"
