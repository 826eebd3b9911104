"""Messages that may have ended the process: they run alone, and a proven one is set aside.

What crashes leave behind is written into the queue's file; the tests of recovery make it with real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from factflow_engine.config.loader import PipelineConfigLoader, config_hash
from factflow_engine.execution_spec import ExecutionSpec, FinalState
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.queue import QueueScope
from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.journal_adapter import beside, lines_of
from factflow_testing.waiting import eventually

COUNT = 6
PIPELINE = """
version: "1.0"
routes:
  r:
    inbound: {queue: q, concurrency: 6}
    adapters:
      - {type: fan, config: {count: 6}}
      - {type: echo, stage: first}
      - {type: echo, stage: never, condition: {field: n, operator: gt, value: 99}}
      - WORK
    error_handling: {max_retries: 3, retry_delay_seconds: 0}
init_message: {route: r}
"""
HANG = PIPELINE.replace("WORK", "{type: hang, stage: work}")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(folder, modules=("factflow_testing.journal_adapter",)) as engine:
        yield engine


async def cut_off(folder: Path) -> str:
    """Leave an execution with all its messages at the stage `work`."""
    async with opened(folder) as engine:
        execution = await engine.start(HANG)

        async def all_at_work() -> bool:
            rows = await engine.lineage_rows(execution)
            return sum(row.stage == "work" for row in rows) == COUNT

        await eventually(all_at_work)
        return execution


async def child_ids(engine: EngineUnderTest, execution: str) -> dict[str, int]:
    (record,) = await engine.records(execution, "r", "fan")
    return {child.message_id: number for number, child in enumerate(record.children)}


async def accuse(folder: Path, execution: str, crashes: Mapping[int, int]) -> None:
    """Have the queue's file say at how many crashes these messages were handled."""
    async with opened(folder) as engine:
        numbers = await child_ids(engine, execution)
    with contextlib.closing(sqlite3.connect(folder / "queue.db")) as connection, connection:
        for message_id, number in numbers.items():
            connection.execute(
                "UPDATE message SET crashes = ? WHERE message_id = ?",
                (crashes.get(number, 0), message_id),
            )


async def go_on(engine: EngineUnderTest, execution: str, text: str) -> None:
    """Take the execution up, with this for its snapshot."""
    engine.ended.setdefault(execution, asyncio.Event())
    engine.manager.reserve(execution)
    config = PipelineConfigLoader(engine.registry).load(text, "test.yaml")
    spec = ExecutionSpec(execution, config, config_hash(text), resumed=True)
    await engine.manager.start(spec)


def journalling(journal: Path, seconds: float = 0.0) -> str:
    work = f"{{type: journal, stage: work, config: {{journal: {journal}, seconds: {seconds}}}}}"
    return PIPELINE.replace("WORK", work)


@asynccontextmanager
async def finished(
    folder: Path, execution: str, crashes: Mapping[int, int], seconds: float = 0.0
) -> AsyncIterator[tuple[EngineUnderTest, FinalState]]:
    await accuse(folder, execution, crashes)
    async with opened(folder) as engine:
        await go_on(engine, execution, journalling(folder / "journal", seconds))
        yield engine, await engine.end(execution)


async def work_of(engine: EngineUnderTest, execution: str) -> dict[int, OutcomeRecord]:
    numbers = await child_ids(engine, execution)
    records = await engine.records(execution, "r", "work")
    return {numbers[record.message_id]: record for record in records}


async def test_suspects_run_alone_and_innocent_ones_are_done(tmp_path: Path) -> None:
    """One at a time, with nothing beside them; those under less suspicion run together."""
    execution = await cut_off(tmp_path)
    suspects = {1: 2, 4: 2, 5: 1}
    async with finished(tmp_path, execution, suspects, seconds=0.02) as (engine, final):
        assert (final.status, final.progress.failed) == ("completed", 0)
        assert len(await work_of(engine, execution)) == COUNT
    journal = tmp_path / "journal"
    assert beside(journal, 1) == beside(journal, 4) == [set()]
    assert {number for _, number in beside(journal, 5)[0]} & {0, 2, 3}


async def test_a_suspect_runs_apart_from_other_executions_too(tmp_path: Path) -> None:
    execution = await cut_off(tmp_path)
    await accuse(tmp_path, execution, {3: 2})
    text = journalling(tmp_path / "journal", 0.02).replace("count: 6", "count: 30")
    async with opened(tmp_path) as engine:
        other = await engine.start(text)
        await eventually(lambda: lines_of(tmp_path / "journal"))
        await go_on(engine, execution, journalling(tmp_path / "journal", 0.02))
        for one in (other, execution):
            assert (await engine.end(one)).status == "completed"
    mine = [
        others
        for line, others in zip(
            [e for e in lines_of(tmp_path / "journal") if (e.what, e.number) == ("start", 3)],
            beside(tmp_path / "journal", 3),
            strict=True,
        )
        if line.execution_id == execution
    ]
    assert mine == [set()]


async def test_one_that_ended_the_process_alone_is_set_aside(tmp_path: Path) -> None:
    """As failed, where it stood, without another call of the adapter or another attempt."""
    execution = await cut_off(tmp_path)
    async with finished(tmp_path, execution, {2: 3}) as (engine, final):
        assert (final.status, final.progress.failed) == ("failed", 1)
        assert sorted({line.number for line in lines_of(tmp_path / "journal")}) == [0, 1, 3, 4, 5]
        records = await work_of(engine, execution)
        failed = records.pop(2)
        assert {record.outcome for record in records.values()} == {"stored"}
        assert (failed.outcome, failed.attempts, failed.passed) == ("failed", 1, ["never"])
        assert failed.error is not None
        assert failed.error.type == "ProcessKilledError"
        assert "the process ended 3 times" in failed.error.message
        assert failed.input_key is not None
        assert b'"n":2' in await engine.storage.read(failed.input_key)
        rows = {row.id: row for row in await engine.lineage_rows(execution)}
        row = rows[failed.lineage_id]
        assert (row.status, row.outcome, row.stage) == ("failed", "failed", "work")
        assert row.error is not None
        assert row.error.type == "ProcessKilledError"


async def test_an_input_that_may_be_the_cause_is_not_read_again(tmp_path: Path) -> None:
    """The process ended even while the message was set aside: now it is blamed unread."""
    execution = await cut_off(tmp_path)
    async with opened(tmp_path) as engine:
        for record in await engine.records(execution, "r", "first"):
            assert record.output_key is not None
            (tmp_path / "storage" / record.output_key).unlink()
    async with finished(tmp_path, execution, dict.fromkeys(range(COUNT), 4)) as (engine, final):
        assert final.progress.failed == COUNT
        errors = [
            record.error.type
            for stage in ("never", "work")
            for record in await engine.records(execution, "r", stage)
            if record.error is not None
        ]
        assert errors == ["ProcessKilledError"] * COUNT


async def test_the_dead_letter_of_one_that_ended_the_process_leaves_its_input_alone(
    tmp_path: Path,
) -> None:
    """Reading it may be what ends the process, and would then end it at every start."""
    execution = await cut_off(tmp_path)
    await accuse(tmp_path, execution, {2: 4})
    text = journalling(tmp_path / "journal").replace(
        "retry_delay_seconds: 0", "retry_delay_seconds: 0, dead_letter_queue: letters"
    )
    async with opened(tmp_path) as engine:
        await go_on(engine, execution, text)
        assert (await engine.end(execution)).progress.failed == 1
        kept = [i.key async for i in engine.storage.list(f"executions/{execution}/_dead")]
        told = [
            i.key async for i in engine.storage.list(f"executions/{execution}/_dead", records=True)
        ]
    assert (len(kept), len(told)) == (0, 1)


async def test_what_was_recorded_before_the_process_ended_stands(tmp_path: Path) -> None:
    """The process died after the outcome was stored: nothing is left to blame the message for."""
    execution = await cut_off(tmp_path)
    await accuse(tmp_path, execution, {2: 3})
    shutil.copyfile(tmp_path / "queue.db", tmp_path / "kept.db")
    async with finished(tmp_path, execution, {}) as (_, final):
        assert final.status == "completed"
    done = lines_of(tmp_path / "journal")
    shutil.copyfile(tmp_path / "kept.db", tmp_path / "queue.db")
    async with opened(tmp_path) as engine:
        await go_on(engine, execution, journalling(tmp_path / "journal"))
        final = await engine.end(execution)
        assert (final.status, final.progress.failed) == ("completed", 0)
    assert lines_of(tmp_path / "journal") == done


async def test_who_waits_for_a_suspect_is_shown_and_can_be_cancelled(tmp_path: Path) -> None:
    """A message without an end keeps a suspect waiting, which keeps others waiting; cancelling the
    suspect's execution frees them, and needs no grace period."""
    suspect = await cut_off(tmp_path)
    await accuse(tmp_path, suspect, {2: 2})
    one = PIPELINE.replace("count: 6", "count: 1")
    async with opened(tmp_path) as engine:
        endless = await engine.start(one.replace("WORK", "{type: hang, stage: work}"))

        async def begun() -> bool:
            return any(row.stage == "work" for row in await engine.lineage_rows(endless))

        await eventually(begun)
        await go_on(engine, suspect, journalling(tmp_path / "journal"))
        await eventually(lambda: suspect in engine.manager.holding())
        other = await engine.start(one.replace("WORK", "{type: echo}"))
        await eventually(lambda: other in engine.manager.holding())
        reasons = engine.manager.holding()
        assert "may have ended the process" in reasons[other]["r"]
        await engine.manager.cancel(suspect, grace_seconds=3600)
        assert (await engine.end(other)).status == "completed"
        assert engine.finals[suspect].status == "cancelled"
        assert engine.manager.is_running(endless)


async def test_a_stop_leaves_suspects_as_they_were(tmp_path: Path) -> None:
    """An orderly end is no crash, and forgets none."""
    execution = await cut_off(tmp_path)
    await accuse(tmp_path, execution, {2: 2})
    async with opened(tmp_path) as engine:
        await go_on(engine, execution, HANG)
        await eventually(lambda: engine.manager.runtime(execution)[0].in_flight)
    async with opened(tmp_path) as engine:
        numbers = await child_ids(engine, execution)
        scope = QueueScope(execution)
        await engine.queue.open(scope)
        consumer = engine.queue.subscribe(scope, "q")
        deliveries = [await consumer.take() for _ in range(COUNT)]
        found = {numbers[delivery.message_id]: delivery.crashes for delivery in deliveries}
        assert found == {0: 0, 1: 0, 2: 2, 3: 0, 4: 0, 5: 0}


async def test_claims_cost_nothing_before_the_first_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one transaction has a claim in it; after a crash many messages share one."""
    seen: list[str] = []
    monkeypatch.setattr("factflow_infra.queue.batch.reach", seen.append)
    text = journalling(tmp_path / "journal").replace("count: 6", "count: 60")
    async with opened(tmp_path) as engine:
        _, final = await engine.run(text)
        assert final.progress.settled == 61
    assert "queue.settle.before" in seen
    assert "queue.claim.before" not in seen

    execution = await cut_off(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "queue.db")) as connection, connection:
        connection.execute("UPDATE scope SET crashed = 1")
    seen.clear()
    async with finished(tmp_path, execution, {}) as (_, final):
        assert final.status == "completed"
    assert 0 < seen.count("queue.claim.before") < COUNT
