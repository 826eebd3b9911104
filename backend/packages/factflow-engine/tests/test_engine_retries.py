"""Failures that may pass are tried again as the route says; those that stay go to the dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_engine.config.loader import PipelineConfigLoader, config_hash
from factflow_engine.config.models import ErrorHandlingConfig
from factflow_engine.execution_spec import ExecutionSpec
from factflow_engine.retry_policy import LONGEST_DELAY, RetryPolicy
from factflow_protocols.errors import (
    AdapterError,
    ObjectDamagedError,
    PermanentError,
    TransientError,
)
from factflow_protocols.queue import QueueScope
from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.waiting import eventually


def policy(**settings: object) -> RetryPolicy:
    config = ErrorHandlingConfig.model_validate({"max_retries": 9, **settings})
    return RetryPolicy(
        config.max_retries,
        config.retry_delay_seconds,
        RetryPolicy.of(config).retry_on,
        jitter=lambda: 1.0,
    )


def test_delays_double_up_to_an_hour_and_jitter_takes_up_to_half() -> None:
    full = policy(retry_delay_seconds=900)
    delays = [full.delay_before_next(ValueError(), attempt) for attempt in (1, 2, 3, 4, 10)]
    assert delays == [900.0, 1800.0, LONGEST_DELAY, LONGEST_DELAY, None]
    half = RetryPolicy(9, 900.0, jitter=lambda: 0.0)
    assert half.delay_before_next(ValueError(), 1) == 450.0


def test_what_the_error_asks_for_wins() -> None:
    asked = TransientError("come later", retry_after=7)
    assert policy().delay_before_next(asked, 5) == 7
    assert policy(retry_on=["ValueError"]).delay_before_next(asked, 5) is None


@pytest.mark.parametrize(
    ("retry_on", "error", "again"),
    [
        (None, ValueError("x"), True),
        (None, TransientError("x"), True),
        (None, PermanentError("x"), False),
        (None, ObjectDamagedError("x"), False),
        ([], TransientError("x"), False),
        (["TransientError"], TransientError("x"), True),
        (["TransientError"], ValueError("x"), False),
        (["OSError"], ConnectionResetError("x"), True),
        (["ConnectionResetError"], OSError("x"), False),
        (["Exception", "AdapterError"], PermanentError("x"), False),
        (["AdapterError"], AdapterError("x"), True),
    ],
)
def test_only_chosen_failures_are_tried_again_and_never_final_ones(
    retry_on: list[str] | None, error: Exception, again: bool
) -> None:
    delay = policy(retry_on=retry_on).delay_before_next(error, 1)
    assert (delay is not None) is again


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path) as opened:
        yield opened


def pipeline(errors: str, count: int = 3, concurrency: int = 4, more: str = "") -> str:
    return f"""
version: "1.0"
routes:
  r:
    inbound: {{queue: q, concurrency: {concurrency}}}
    adapters:
      - {{type: fan, config: {{count: {count}}}}}
      - {{type: fail, config: {{numbers: [1], until_attempt: 3}}}}
      - {{type: echo}}
    error_handling: {errors}
{more}
init_message: {{route: r}}
"""


async def test_attempts_are_visible_in_lineage(engine: EngineUnderTest) -> None:
    execution, final = await engine.run(pipeline("{max_retries: 2, retry_delay_seconds: 0}"))
    assert final.status == "completed"
    rows = [row for row in await engine.lineage_rows(execution) if row.stage == "fail"]
    assert sorted((row.attempts, row.status) for row in rows) == [
        (1, "completed"),
        (1, "completed"),
        (3, "completed"),
    ]


async def test_an_error_that_is_not_chosen_fails_at_once(engine: EngineUnderTest) -> None:
    chosen = "{max_retries: 5, retry_delay_seconds: 0, retry_on: [TransientError]}"
    execution, final = await engine.run(pipeline(chosen))
    assert (final.status, final.progress.failed) == ("failed", 1)
    records = await engine.records(execution, "r", "fail")
    assert [(r.outcome, r.attempts) for r in records if r.error] == [("failed", 1)]


WAIT_AN_HOUR = "{max_retries: 2, retry_delay_seconds: 3600}"


class HandClock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def now(self) -> float:
        return self.seconds


async def waiting_for_an_hour(engine: EngineUnderTest, execution: str, done: int) -> None:
    """Wait until only the retry is left."""
    scope = QueueScope(execution)

    async def all_others_settled() -> bool:
        progress = await engine.queue.progress(scope)
        (depth,) = engine.queue.depths(scope).values()
        left = (depth.ready, depth.in_flight, depth.delayed)
        return progress.outstanding == 1 and left == (0, 0, 1) and progress.settled == done

    await eventually(all_others_settled)


async def test_a_waiting_retry_is_outstanding_and_holds_no_slot(tmp_path: Path) -> None:
    """With one slot only, the messages behind it are done while it waits."""
    clock = HandClock()
    async with engine_in(tmp_path, clock=clock) as engine:
        execution = await engine.start(pipeline(WAIT_AN_HOUR, concurrency=1))
        await waiting_for_an_hour(engine, execution, done=4)  # init, two others, the publisher
        assert len(await engine.outputs(execution, "r", "echo")) == 2
        rows = [row for row in await engine.lineage_rows(execution) if row.status == "pending"]
        assert [(row.stage, row.attempts) for row in rows] == [("fail", 2)]
        assert engine.manager.is_running(execution)
        for _ in range(2):
            await waiting_for_an_hour(engine, execution, done=4)
            clock.seconds += 3600
            engine.queue.wake()
        assert (await engine.end(execution)).status == "completed"
        assert len(await engine.outputs(execution, "r", "echo")) == 3


async def test_a_waiting_retry_survives_a_restart_with_its_attempts(tmp_path: Path) -> None:
    clock = HandClock()
    text = pipeline(WAIT_AN_HOUR)
    async with engine_in(tmp_path, clock=clock) as engine:
        execution = await engine.start(text)
        await waiting_for_an_hour(engine, execution, done=4)
    async with engine_in(tmp_path, clock=clock) as engine:
        config = PipelineConfigLoader(engine.registry).load(text, "test.yaml")
        spec = ExecutionSpec(execution, config, config_hash(text), resumed=True)
        engine.ended[execution] = asyncio.Event()
        engine.manager.reserve(execution)
        await engine.manager.start(spec)
        await waiting_for_an_hour(engine, execution, done=4)
        for _ in range(2):
            await waiting_for_an_hour(engine, execution, done=4)
            clock.seconds += 3600
            engine.queue.wake()
        assert (await engine.end(execution)).status == "completed"
        attempts = [record.attempts for record in await engine.records(execution, "r", "fail")]
        assert sorted(attempts) == [1, 1, 3]


LETTERS = """
  letters:
    inbound: {queue: dead}
    adapters:
      - {type: echo, stage: report, config: {fields: {seen: true}}}
"""


async def test_a_dead_letter_is_processed_and_the_execution_still_failed(
    engine: EngineUnderTest,
) -> None:
    """The route gets the input of the failed message, and is told what failed and where."""
    execution, final = await engine.run(pipeline("{dead_letter_queue: dead}", more=LETTERS))
    assert (final.status, final.progress.failed, final.progress.announced) == ("failed", 1, 5)
    assert await engine.outputs(execution, "letters", "report") == [{"n": 1, "seen": True}]
    (report,) = await engine.records(execution, "letters", "report")
    assert report.metadata["error"] == {"type": "ValueError", "message": "made to fail"}
    assert report.metadata["failed_stage"] == "r/fail"
    records = await engine.records(execution, "r", "fail")
    (failed,) = [record for record in records if record.error]
    assert report.parent_id == failed.lineage_id
    assert report.input_key == failed.input_key


async def test_without_a_route_for_them_the_failed_record_keeps_all(
    engine: EngineUnderTest,
) -> None:
    execution, final = await engine.run(pipeline("{dead_letter_queue: nobody_reads_this}"))
    assert (final.status, final.progress.failed, final.progress.announced) == ("failed", 1, 4)
    records = await engine.records(execution, "r", "fail")
    (failed,) = [record for record in records if record.error]
    assert failed.children == []
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("ValueError", "made to fail")
    assert failed.input_key is not None
    assert b'"n":1' in await engine.storage.read(failed.input_key)
