from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from factflow_execution.errors import ExecutionNotFoundError
from factflow_execution.models import PipelineExecution
from factflow_execution.waiter import ExecutionWaiter

RUNNING = PipelineExecution(
    execution_id="e",
    config_id=None,
    config_name="p",
    config_version=None,
    config_hash="",
    config_snapshot="",
    status="running",
    started_at=1.0,
)
DONE = replace(RUNNING, status="completed", completed_at=2.0)


class Executions:
    """One execution that a test ends; reading it hands control over, as a database would."""

    def __init__(self, present: PipelineExecution | None) -> None:
        self.present = present
        self._reads = 0
        self.read_thrice = asyncio.Event()

    async def get(self, execution_id: str) -> PipelineExecution:
        self._reads += 1
        if self._reads == 3:
            self.read_thrice.set()
        await asyncio.sleep(0)
        if self.present is None:
            raise ExecutionNotFoundError(execution_id)
        return self.present


async def test_everyone_who_waits_is_told_of_the_end() -> None:
    executions = Executions(RUNNING)
    waiter = ExecutionWaiter(executions.get)
    waiting = [asyncio.create_task(waiter.wait("e")) for _ in range(3)]
    await executions.read_thrice.wait()
    waiter.resolve(DONE)
    assert await asyncio.gather(*waiting) == [DONE] * 3


async def test_an_ended_execution_is_returned_at_once() -> None:
    assert await ExecutionWaiter(Executions(DONE).get).wait("e") == DONE


async def test_an_end_while_the_status_is_read_is_not_missed() -> None:
    executions = Executions(RUNNING)
    waiter = ExecutionWaiter(executions.get)
    waiting = asyncio.create_task(waiter.wait("e"))
    await asyncio.sleep(0)  # it signed up and is reading the old status
    waiter.resolve(DONE)
    assert await asyncio.wait_for(waiting, 5) == DONE


async def test_when_the_time_is_up_the_present_state_is_returned() -> None:
    assert await ExecutionWaiter(Executions(RUNNING).get).wait("e", 0.01) == RUNNING


async def test_an_unknown_execution_is_not_waited_for() -> None:
    with pytest.raises(ExecutionNotFoundError):
        await ExecutionWaiter(Executions(None).get).wait("e")


async def test_the_end_of_another_execution_wakes_nobody() -> None:
    waiter = ExecutionWaiter(Executions(RUNNING).get)
    waiting = asyncio.create_task(waiter.wait("e", 0.05))
    await asyncio.sleep(0)
    waiter.resolve(replace(DONE, execution_id="other"))
    assert await waiting == RUNNING


async def test_what_a_recovery_is_to_take_up_has_not_ended() -> None:
    """Asked just after a start, the answer is how the execution ends, not that it was cut off before."""
    interrupted = replace(RUNNING, status="interrupted")
    awaiting = {"e"}
    executions = Executions(interrupted)
    waiter = ExecutionWaiter(executions.get, awaiting.__contains__)
    resumed = asyncio.create_task(waiter.wait("e"))
    await asyncio.sleep(0)  # it signed up and is reading
    waiter.resolve(DONE)
    assert await resumed == DONE
    left = asyncio.create_task(waiter.wait("e"))
    await asyncio.sleep(0)  # it signed up and is reading
    awaiting.clear()
    waiter.look_again("e")
    assert await left == interrupted
