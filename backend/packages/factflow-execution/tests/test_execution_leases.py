"""One server runs an execution at a time, and one that was replaced changes nothing any more."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.execution_leases import ExecutionLeases, LeaseLostError, hold_lease
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.models import PipelineExecution
from factflow_testing.postgres_waits import wait_or_done

LONG, OVER = 3600.0, 0.0


def execution(name: str) -> PipelineExecution:
    return PipelineExecution(
        execution_id=name,
        config_id=None,
        config_name="pipeline",
        config_version=None,
        config_hash="1" * 64,
        config_snapshot="routes: {}\n",
        status="running",
        started_at=1000.0,
    )


async def test_of_many_servers_one_has_an_execution_until_it_lets_go(
    engine: AsyncEngine, other: AsyncEngine
) -> None:
    servers = [
        ExecutionLeases(engine if number % 2 else other, f"server-{number}", LONG)
        for number in range(20)
    ]
    found = await asyncio.gather(*(server.take("execution-1") for server in servers))
    [lease] = [one for one in found if one is not None]
    owner = servers[int(lease.owner.removeprefix("server-"))]
    assert lease.epoch == 1
    assert await owner.take("execution-1") == lease
    assert await owner.renew([lease]) == []
    await owner.release(lease)
    next_one = await servers[0].take("execution-1")
    assert next_one is not None
    assert (next_one.owner, next_one.epoch) == ("server-0", 2)


async def test_what_ran_out_is_taken_over_and_the_late_one_is_told(
    engine: AsyncEngine, other: AsyncEngine
) -> None:
    repository, later = ExecutionRepository(engine), ExecutionRepository(other)
    for name in ("execution-1", "execution-2"):
        await repository.insert(execution(name))
    asleep = ExecutionLeases(engine, "asleep", OVER)
    awake = ExecutionLeases(other, "awake", LONG)
    assert await awake.left() == ["execution-1", "execution-2"]  # nobody ever had them
    mine = [await asleep.take(name) for name in ("execution-1", "execution-2")]
    first, second = [lease for lease in mine if lease is not None]
    assert await awake.left() == ["execution-1", "execution-2"]
    taken = await awake.take("execution-1")
    assert taken is not None
    assert taken.epoch == 2
    assert await awake.left() == ["execution-2"]
    with pytest.raises(LeaseLostError):
        await repository.move("execution-1", "failed", lease=first)
    assert await asleep.renew([first, second]) == [first]  # nobody wanted the second one
    await asleep.release(first)
    assert await awake.left() == ["execution-2"]
    assert await later.move("execution-1", "completed", lease=taken)
    assert await repository.move("execution-2", "completed", lease=second)
    assert await awake.left() == []
    stored = await repository.get("execution-1")
    assert stored is not None
    assert stored.status == "completed"


async def test_nobody_takes_over_between_the_question_and_the_write(postgres: AsyncEngine) -> None:
    """Whoever takes an execution over has read, from then on, all that the one before it wrote."""
    repository = ExecutionRepository(postgres)
    await repository.insert(execution("execution-1"))
    asleep = ExecutionLeases(postgres, "asleep", OVER)
    awake = ExecutionLeases(postgres, "awake", LONG)
    lease = await asleep.take("execution-1")
    assert lease is not None
    async with postgres.begin() as writing:
        await hold_lease(writing, lease)
        taking = asyncio.create_task(awake.take("execution-1"))
        assert await wait_or_done(postgres, writing, taking)
    assert await taking
