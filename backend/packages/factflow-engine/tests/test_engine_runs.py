"""What an execution does to its messages, on the real queue, storage and lineage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_engine.execution_spec import PlannedMessage, TooManyConcurrentExecutionsError
from factflow_testing.engine import EngineUnderTest, engine_in

TWO_ROUTES = """
version: "1.0"
routes:
  first:
    inbound: {queue: start}
    adapters:
      - type: fan
        config: {count: 5}
      - type: echo
    outbound: {queue: middle}
  second:
    inbound: {queue: middle}
    adapters:
      - type: echo
        stage: last
        config: {fields: {seen: true}}
init_message: {route: first, payload: {}}
"""


def one_route(adapters: str, **route: str) -> str:
    extra = "".join(f"    {key}: {value}\n" for key, value in route.items())
    return (
        'version: "1.0"\nroutes:\n  r:\n    inbound: {queue: q}\n'
        f"{extra}    adapters:\n{adapters}\ninit_message: {{route: r}}\n"
    )


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path) as opened:
        yield opened


async def test_every_child_passes_every_stage_and_hop(engine: EngineUnderTest) -> None:
    execution, final = await engine.run(TWO_ROUTES, {"hello": 1})
    assert (final.status, final.progress.announced, final.progress.failed) == ("completed", 11, 0)
    outputs = await engine.outputs(execution, "second", "last")
    assert sorted(output["n"] for output in outputs) == [0, 1, 2, 3, 4]
    assert all(output["seen"] for output in outputs)
    (fan,) = await engine.records(execution, "first", "fan")
    assert (fan.outcome, fan.children_count) == ("fanned_out", 5)
    rows = await engine.lineage_rows(execution)
    assert len(rows) == 11
    assert {row.status for row in rows} == {"completed"}
    assert [row.stage for row in rows if row.parent_id is None] == ["fan"]


async def test_metadata_travels_with_the_message(engine: EngineUnderTest) -> None:
    execution, _ = await engine.run(TWO_ROUTES)
    found = {r.metadata["url"] for r in await engine.records(execution, "second", "last")}
    assert found == {f"https://example.com/{n}" for n in range(5)}


async def test_same_document_has_the_same_origin_in_every_run(engine: EngineUnderTest) -> None:
    one, _ = await engine.run(TWO_ROUTES)
    two, _ = await engine.run(TWO_ROUTES)
    first = await engine.records(one, "second", "last")
    second = await engine.records(two, "second", "last")
    assert {r.origin_id for r in first} == {r.origin_id for r in second}
    assert not {r.message_id for r in first} & {r.message_id for r in second}


async def test_a_failing_message_keeps_its_input_and_the_others_go_on(
    engine: EngineUnderTest,
) -> None:
    text = one_route(
        "      - {type: fan, config: {count: 5}}\n      - {type: fail, config: {numbers: [2]}}"
    )
    execution, final = await engine.run(text)
    assert (final.status, final.progress.failed) == ("failed", 1)
    results = await engine.records(execution, "r", "fail")
    (failed,) = [record for record in results if record.outcome == "failed"]
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("ValueError", "made to fail")
    assert failed.input_key is not None
    assert b'"n":2' in await engine.storage.read(failed.input_key)
    assert len([record for record in results if record.outcome == "stored"]) == 4


async def test_a_retry_is_the_same_message_and_succeeds(engine: EngineUnderTest) -> None:
    text = one_route(
        "      - {type: fan, config: {count: 2}}\n      - {type: fail, config: {until_attempt: 3}}",
        error_handling="{max_retries: 2, retry_delay_seconds: 0}",
    )
    execution, final = await engine.run(text)
    assert (final.status, final.progress.announced) == ("completed", 3)
    assert {r.attempts for r in await engine.records(execution, "r", "fail")} == {3}


async def test_failures_within_the_tolerance_do_not_fail_the_execution(
    engine: EngineUnderTest,
) -> None:
    text = one_route(
        "      - {type: fan, config: {count: 9}}\n      - {type: fail, config: {numbers: [2]}}"
    )
    _, final = await engine.run(text + "error_handling: {failure_tolerance: 0.1}\n")
    assert (final.status, final.progress.failed) == ("completed", 1)


async def test_filtered_messages_are_settled_not_failed(engine: EngineUnderTest) -> None:
    text = one_route(
        "      - {type: fan, config: {count: 4}}\n      - {type: keep, config: {below: 1}}\n"
        "      - {type: echo}"
    )
    execution, final = await engine.run(text)
    assert final.status == "completed"
    outcomes = [r.outcome for r in await engine.records(execution, "r", "keep")]
    assert sorted(outcomes) == ["filtered", "filtered", "filtered", "stored"]
    assert len(await engine.records(execution, "r", "echo")) == 1


async def test_a_skipped_stage_is_named_by_the_next_record(engine: EngineUnderTest) -> None:
    text = one_route(
        "      - {type: fan, config: {count: 2}}\n"
        "      - {type: fail, condition: {field: n, operator: equals, value: 99}}\n"
        "      - {type: echo}"
    )
    execution, final = await engine.run(text)
    assert final.status == "completed"
    assert [r.passed for r in await engine.records(execution, "r", "echo")] == [["fail"], ["fail"]]
    assert await engine.records(execution, "r", "fail") == []


async def test_a_chain_that_ends_skipped_still_ends_in_a_record_and_hops(
    engine: EngineUnderTest,
) -> None:
    text = """
version: "1.0"
routes:
  a:
    inbound: {queue: qa}
    adapters:
      - type: fan
      - {type: fail, condition: {field: n, operator: gt, value: 0}}
    outbound: {queue: qb}
  b:
    inbound: {queue: qb}
    adapters: [{type: echo}]
init_message: {route: a}
"""
    execution, final = await engine.run(text)
    assert final.progress.failed == 2
    outcomes = sorted(r.outcome for r in await engine.records(execution, "a", "fail"))
    assert outcomes == ["failed", "failed", "passed"]
    assert await engine.outputs(execution, "b", "echo") == [{"n": 0}]


async def test_children_of_a_last_stage_without_outbound_are_artefacts_only(
    engine: EngineUnderTest,
) -> None:
    execution, final = await engine.run(one_route("      - {type: fan, config: {count: 7}}"))
    assert (final.status, final.progress.announced) == ("completed", 1)
    (record,) = await engine.records(execution, "r", "fan")
    for child in record.children:
        assert await engine.storage.exists(child.input_key)
    rows = await engine.lineage_rows(execution)
    assert [row.status for row in rows] == ["completed"]


async def test_a_large_lazy_fan_out_loses_nothing(engine: EngineUnderTest) -> None:
    text = one_route(
        "      - {type: fan, config: {count: 2500, lazily: true, keyed: false}}\n      - {type: echo}"
    )
    execution, final = await engine.run(text)
    assert (final.status, final.progress.announced) == ("completed", 2501)
    numbers = [output["n"] for output in await engine.outputs(execution, "r", "echo")]
    assert sorted(numbers) == list(range(2500))


async def test_a_batch_is_gathered_and_the_culprit_stands_alone(engine: EngineUnderTest) -> None:
    text = one_route(
        "      - {type: fan, config: {count: 10}}\n"
        "      - {type: batch_double, batch: {size: 10, wait_ms: 50}, config: {poison: [7]}}"
    )
    execution, final = await engine.run(text)
    assert final.progress.failed == 1
    outputs = await engine.outputs(execution, "r", "batch_double")
    assert sorted(output["n"] for output in outputs) == [2 * n for n in range(10) if n != 7]
    batches = [r.batch_id for r in await engine.records(execution, "r", "batch_double")]
    assert len(set(batches)) < len(batches)


async def test_a_plain_def_runs_in_a_thread(engine: EngineUnderTest) -> None:
    execution, final = await engine.run(one_route("      - {type: fan}\n      - {type: threaded}"))
    assert final.status == "completed"
    assert all(o["threaded"] for o in await engine.outputs(execution, "r", "threaded"))


async def test_a_stage_that_hangs_fails_at_its_time_limit(engine: EngineUnderTest) -> None:
    execution, final = await engine.run(one_route("      - {type: hang, timeout_seconds: 0.05}"))
    assert final.status == "failed"
    (record,) = await engine.records(execution, "r", "hang")
    assert record.error is not None
    assert "did not answer within 0.05 s" in record.error.message


async def test_cancel_ends_a_hanging_execution(engine: EngineUnderTest) -> None:
    execution = await engine.start(one_route("      - {type: hang}"))
    await engine.manager.cancel(execution, grace_seconds=0.05)
    assert (await engine.end(execution)).status == "cancelled"
    assert engine.manager.running() == []


async def test_a_pipeline_with_nothing_to_do_completes_with_a_warning(
    engine: EngineUnderTest,
) -> None:
    text = one_route("      - {type: echo}").replace("init_message: {route: r}\n", "")
    _, final = await engine.run(text)
    assert final.status == "completed"
    assert final.warning is not None
    assert "no init_message" in final.warning


async def test_two_executions_at_once_mix_nothing(engine: EngineUnderTest) -> None:
    one, two = await engine.start(TWO_ROUTES), await engine.start(TWO_ROUTES)
    for execution in (one, two):
        assert (await engine.end(execution)).status == "completed"
        rows = await engine.lineage_rows(execution)
        assert len(rows) == 11
        assert {row.execution_id for row in rows} == {execution}
        stored = [item.key async for item in engine.storage.list(f"executions/{execution}")]
        assert len(stored) == 1 + 5 + 5 + 5
        for record in await engine.records(execution, "second", "last"):
            assert record.input_key is not None
            assert record.input_key.startswith(f"executions/{execution}/")


async def test_twelve_run_at_once_and_the_thirteenth_is_refused(engine: EngineUnderTest) -> None:
    running = [await engine.start(one_route("      - {type: hang}")) for _ in range(12)]
    with pytest.raises(TooManyConcurrentExecutionsError, match="12 executions run already"):
        await engine.start(one_route("      - {type: echo}"))
    for execution in running:
        await engine.manager.cancel(execution, grace_seconds=0)
    _, final = await engine.run(one_route("      - {type: echo}"))
    assert final.status == "completed"


async def test_what_a_stopped_engine_left_is_finished_by_the_next(tmp_path: Path) -> None:
    """The queue that survived is the frontier: starting again runs what had not settled, once."""
    text = one_route("      - {type: fan, config: {count: 3}}\n      - {type: hang}")
    async with engine_in(tmp_path) as first:
        execution = await first.start(text)
        await first.manager.stop(0.05)
        assert (await first.end(execution)).status == "interrupted"
    async with engine_in(tmp_path) as second:
        await second.start(
            text.replace("hang", "echo, stage: hang"), execution_id=execution, source=_Nothing()
        )
        assert (await second.end(execution)).status == "completed"
        assert len(await second.outputs(execution, "r", "hang")) == 3


class _Nothing:
    async def items(self, _start: int) -> AsyncIterator[PlannedMessage]:
        for item in list[PlannedMessage]():
            yield item
