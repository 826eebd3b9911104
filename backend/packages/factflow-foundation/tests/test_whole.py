"""A cancellation waits for work that must not be cut."""

from __future__ import annotations

import asyncio

import pytest

from factflow_foundation.whole import whole


async def test_a_cancellation_is_felt_when_the_work_has_ended() -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        ended.set()

    task = asyncio.create_task(whole(work()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_results_and_errors_pass_through() -> None:
    async def answer() -> int:
        return 7

    async def refuse() -> int:
        raise ValueError("no")

    assert await whole(answer()) == 7
    with pytest.raises(ValueError, match="no"):
        await whole(refuse())
