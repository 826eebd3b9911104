"""What holds when several connections, of one server or of more, change the same rows at once."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.errors import ExecutionDeletedError, ExecutionHeldError
from factflow_execution.execution_deletions import ExecutionDeletions
from factflow_execution.execution_events import Event, ExecutionEvents
from factflow_execution.execution_holds import ExecutionHolds
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.execution_usages import ExecutionUsages
from factflow_execution.idempotency import Idempotency, IdempotentStarts
from factflow_execution.models import PipelineExecution
from factflow_protocols.storage import StorageUsage
from factflow_testing.postgres_schemas import execute
from factflow_testing.postgres_waits import wait_or_done
from factflow_testing.waiting import eventually

SERVERS = 20
ROUNDS = 5


def execution(name: str, **changes: object) -> PipelineExecution:
    fields: dict[str, object] = {
        "execution_id": name,
        "config_id": None,
        "config_name": "pipeline",
        "config_version": None,
        "config_hash": "1" * 64,
        "config_snapshot": "routes: {}\n",
        "status": "running",
        "started_at": 1000.0,
    }
    return PipelineExecution(**(fields | changes))  # type: ignore[arg-type]  # its own fields


async def test_of_a_hold_and_a_deletion_at_once_one_is_refused(
    engine: AsyncEngine, other: AsyncEngine
) -> None:
    """Else a replay would read what is being removed. Both are begun at once, the hold at each statement of
    the deletion."""
    repository = ExecutionRepository(engine)
    holds, deletions = ExecutionHolds(engine), ExecutionDeletions(other)
    statements = 0
    sent = asyncio.Condition()

    async def tell() -> None:
        async with sent:
            sent.notify_all()

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1
        asyncio.get_running_loop().create_task(tell())

    sa.event.listen(other.sync_engine, "before_cursor_execute", count)

    async def take_at(statement: int, name: str) -> None:
        async with sent:
            await sent.wait_for(lambda: statements >= statement)
        await holds.take(f"of {name}", [name])

    for round_ in range(8 * ROUNDS):
        name = f"execution-{round_}"
        await repository.insert(execution(name, status="completed"))
        statements = 0
        answers = await asyncio.gather(
            take_at(1 + round_ % 8, name), deletions.enter(name, "all"), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert len(refused) == 1, (round_, answers)
        assert isinstance(refused[0], ExecutionDeletedError | ExecutionHeldError), refused


async def test_of_starts_with_one_key_on_two_servers_one_runs(
    engine: AsyncEngine, other: AsyncEngine
) -> None:
    async def start(database: AsyncEngine, name: str) -> tuple[PipelineExecution, bool]:
        repository = ExecutionRepository(database)
        one = execution(name, idempotency_key="key", request_hash="hash")

        async def run() -> PipelineExecution:
            await repository.insert(one)
            return one

        return await IdempotentStarts(repository).once(Idempotency("key", "hash"), run)

    answers = await asyncio.gather(
        *(start(engine if n % 2 else other, f"execution-{n}") for n in range(SERVERS))
    )
    assert [new for _, new in answers].count(True) == 1
    assert len({one.execution_id for one, _ in answers}) == 1


async def test_counts_of_one_execution_at_once_leave_one(
    engine: AsyncEngine, other: AsyncEngine
) -> None:
    await ExecutionRepository(engine).insert(execution("execution-1"))
    usages = [ExecutionUsages(engine), ExecutionUsages(other)]
    huge = 2**40  # more than 32 bits hold
    await asyncio.gather(
        *(
            usages[number % 2].put("execution-1", StorageUsage(number, 0, huge, huge), 1.0)
            for number in range(SERVERS)
        )
    )
    [counted] = await usages[0].largest(10)
    assert counted.usage is not None
    assert counted.usage.bytes == huge


async def test_an_execution_has_its_events_in_the_order_of_commits(postgres: AsyncEngine) -> None:
    """Whoever was told of a number has been told of all before it."""
    repository, events = ExecutionRepository(postgres), ExecutionEvents(postgres)
    await repository.insert(execution("execution-1"))
    [started] = await events.after("execution-1", 0)
    async with postgres.begin() as slow:
        await events.hold_rows(slow, ["execution-1"])
        await events.add(slow, "execution-1", Event("route_paused", 1.0))
        quick = asyncio.create_task(repository.request_cancel("execution-1", 2.0))
        await wait_or_done(postgres, slow, quick)
        told = await events.after("execution-1", started.number)
    await quick
    told += await events.after("execution-1", told[-1].number if told else started.number)
    assert [event.kind for event in told] == ["route_paused", "cancel_requested"]


async def test_a_connection_that_the_server_closed_is_replaced(
    postgres: AsyncEngine, postgres_url: str
) -> None:
    repository = ExecutionRepository(postgres)
    await repository.insert(execution("execution-1"))
    async with postgres.connect() as connection:
        lent = (await connection.get_raw_connection()).driver_connection
    assert lent is not None
    execute(postgres_url, f"SELECT pg_terminate_backend({lent.get_server_pid()})")
    await eventually(lent.is_closed)
    assert await repository.get("execution-1")
