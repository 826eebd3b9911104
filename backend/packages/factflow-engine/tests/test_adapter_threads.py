"""Adapters that block have threads of their own: as many as their route allows, in nobody's way."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_engine import adapter_threads as module
from factflow_engine.adapter_threads import AdapterThreads
from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.waiting import eventually

BLOCKED = 40
"""More than the event loop has threads of its own on most machines."""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path) as opened:
        yield opened


def _adapters_at_work() -> int:
    return sum(thread.name == "adapter" for thread in threading.enumerate())


async def test_many_that_block_leave_others_their_threads(
    engine: EngineUnderTest, tmp_path: Path
) -> None:
    """All of them run at a time, as their route allows, and another execution starts and ends meanwhile."""
    door = tmp_path / "door"
    execution = await engine.start(f"""
version: "1.0"
routes:
  r:
    inbound: {{queue: q, concurrency: {BLOCKED}, prefetch: {BLOCKED}}}
    adapters: [{{type: fan, config: {{count: {BLOCKED}}}}}, {{type: blocked, config: {{path: "{door}"}}}}]
init_message: {{route: r}}
""")
    try:
        await eventually(lambda: _adapters_at_work() >= BLOCKED)
        _, final = await engine.run("""
version: "1.0"
routes: {r: {inbound: {queue: q}, adapters: [{type: threaded}]}}
init_message: {route: r, payload: {}}
""")
        assert final.status == "completed"
        assert await asyncio.to_thread(lambda: "free") == "free"
    finally:
        door.touch()
    assert (await engine.end(execution)).status == "completed"
    assert len(await engine.outputs(execution, "r", "blocked")) == BLOCKED


async def test_a_call_is_in_the_callers_context_and_raises_as_it_did() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("the caller's")
    threads = AdapterThreads()
    assert await threads.run(variable.get) == "the caller's"
    with pytest.raises(SystemExit):
        await threads.run(lambda: exec("raise SystemExit(3)"))
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_threads_are_used_again_and_end_when_there_is_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = AdapterThreads()
    first = await threads.run(threading.current_thread)
    assert await threads.run(threading.current_thread) is first
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    assert await threads.run(threading.current_thread) is first
    await eventually(lambda: not first.is_alive())
    assert await threads.run(threading.current_thread) is not first
