"""`rerun` and `only`: which stage runs again, for which messages, on which inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factflow_replay.replay.errors import ReplayEmptyError, ReplayRefusedError
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform, platform_in
from factflow_testing.waiting import eventually

PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 6}}
      - {type: fail, config: {numbers: [4]}}
      - {type: keep, config: {below: 4}, stage: keep}
    outbound: {queue: middle}
  second:
    inbound: {queue: middle}
    adapters:
      - {type: fail, stage: picky, config: {numbers: [1]}}
init_message: {route: first, payload: {hello: 1}}
"""


async def run_replay(platform: Platform, request: ReplayRequest) -> Any:
    result = await platform.replays.replay(request)
    return result, await platform.end(result.execution.execution_id)


async def test_rerun_runs_the_stage_for_all_that_came_to_it(
    platform: Platform, numbers: Any
) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    request = ReplayRequest(
        source, "keep", rerun=True, overrides={"first.keep.below": 6, "second.picky.numbers": [0]}
    )
    result, replay = await run_replay(platform, request)
    assert (result.counts.run_again, result.counts.filtered_again) == (4, 1)
    assert result.note == "keep runs again for 5 messages"
    assert await numbers(replay.execution_id, "first", "keep") == [0, 1, 2, 3, 5]
    assert await numbers(replay.execution_id, "second", "picky") == [1, 2, 3, 5]


@pytest.mark.parametrize("gate", ["", ", condition: {field: n, operator: lt, value: 9}"])
async def test_rerun_gives_the_stage_the_metadata_that_it_had(tmp_path: Path, gate: str) -> None:
    """What the stage itself added the first time is not there when it runs again."""
    adapters = str(Path(__file__).parent / "noting_adapters.py")
    text = PIPELINE.replace(
        "{type: keep, config: {below: 4}, stage: keep}", f"{{type: note{gate}}}"
    )
    async with platform_in(tmp_path, modules=(adapters,)) as platform:
        source = (await platform.run(text)).execution_id
        _, replay = await run_replay(platform, ReplayRequest(source, "note", rerun=True))
        for execution in (source, replay.execution_id):
            outputs = await platform.engine.outputs(execution, "first", "note")
            assert [output["before"] for output in outputs] == [0] * 5
        records = await platform.engine.records(replay.execution_id, "first", "note")
        assert all(record.metadata["noted"] == 1 for record in records)


async def test_a_rerun_fan_gives_its_children_the_same_origins(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    _, replay = await run_replay(platform, ReplayRequest(source, "fan", rerun=True))
    (before,) = await platform.engine.records(source, "first", "fan")
    (after,) = await platform.engine.records(replay.execution_id, "first", "fan")
    assert {c.origin_id for c in after.children} == {c.origin_id for c in before.children}
    assert after.input_key == before.input_key


async def test_rerun_runs_a_last_stage_that_nothing_follows(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    with pytest.raises(ReplayEmptyError, match="nothing to replay"):
        await platform.replays.replay(ReplayRequest(source, "keep", where=("url=nowhere",)))
    result, replay = await run_replay(platform, ReplayRequest(source, "picky", rerun=True))
    assert (result.counts.run_again, result.counts.at_stage_failed) == (3, 1)
    assert len(await platform.engine.records(replay.execution_id, "second", "picky")) == 4


async def test_failed_messages_of_a_last_stage_run_again_and_finished_ones_do_not(
    platform: Platform,
) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    result, replay = await run_replay(platform, ReplayRequest(source, "picky"))
    assert (result.counts.at_stage_failed, result.counts.finished) == (1, 3)
    assert len(await platform.engine.records(replay.execution_id, "second", "picky")) == 1


async def test_a_skipped_stage_runs_again_for_those_it_was_skipped_for(
    platform: Platform, numbers: Any
) -> None:
    text = PIPELINE.replace(
        "{type: fail, config: {numbers: [4]}}",
        "{type: fail, config: {numbers: [9]}, condition: {field: n, operator: gt, value: 2}}",
    )
    source = (await platform.run(text)).execution_id
    result, replay = await run_replay(platform, ReplayRequest(source, "fail", rerun=True))
    assert (result.counts.run_again, result.counts.skipped_by_condition) == (3, 3)
    assert await numbers(replay.execution_id, "first", "fail") == [3, 4, 5]
    assert await numbers(replay.execution_id, "first", "keep") == [0, 1, 2, 3]


async def test_what_ended_at_a_conditional_stage_never_came_to_the_next(
    platform: Platform,
) -> None:
    text = PIPELINE.replace(
        "{type: fail, config: {numbers: [4]}}",
        "{type: fail, config: {numbers: [4]}, condition: {field: n, operator: gt, value: 2}}",
    )
    source = (await platform.run(text)).execution_id
    plan = await platform.replays.plan(ReplayRequest(source, "keep", rerun=True))
    assert (plan.messages, plan.counts.run_again, plan.counts.filtered_again) == (5, 4, 1)


async def test_rerun_of_a_running_source_leaves_out_what_is_under_way(platform: Platform) -> None:
    text = PIPELINE.replace("{type: keep, config: {below: 4}, stage: keep}", "{type: hang}")
    source = await platform.start(text)

    async def all_tried() -> bool:
        return len(await platform.engine.records(source.execution_id, "first", "fail")) == 6

    await eventually(all_tried)
    request = ReplayRequest(source.execution_id, "hang", rerun=True)
    with pytest.raises(ReplayEmptyError, match="5 messages still under way in the source"):
        await platform.replays.replay(request)
    await platform.executions.cancel(source.execution_id, 0.0)
    plan = await platform.replays.plan(request)
    assert (plan.counts.at_stage_queued, plan.messages) == (5, 5)


async def test_only_failed_at_a_stage(platform: Platform, numbers: Any) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    request = ReplayRequest(
        source, "fail", only="failed", overrides={"first.fail.numbers": [77], "first.keep.below": 9}
    )
    result, replay = await run_replay(platform, request)
    assert (result.counts.at_stage_failed, result.counts.not_failed) == (1, 5)
    assert replay.status == "completed"
    assert await numbers(replay.execution_id, "second", "picky") == [4]


async def test_only_failed_of_the_whole_execution_runs_each_where_it_failed(
    platform: Platform, numbers: Any
) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    request = ReplayRequest(
        source, only="failed", overrides={"first.fail.numbers": [77], "second.picky.numbers": [77]}
    )
    result, replay = await run_replay(platform, request)
    assert {(e.route, e.stage, e.messages) for e in result.plan.entries} == {
        ("first", "fail", 1),
        ("second", "picky", 1),
    }
    assert result.plan.to_queue is None
    assert replay.status == "completed"
    assert await numbers(replay.execution_id, "first", "fail") == [4]
    assert await numbers(replay.execution_id, "second", "picky") == [1]


async def test_only_failed_of_an_execution_without_failures_says_so(platform: Platform) -> None:
    text = PIPELINE.replace("numbers: [4]", "numbers: [77]").replace(
        "numbers: [1]", "numbers: [77]"
    )
    source = (await platform.run(text)).execution_id
    with pytest.raises(ReplayEmptyError, match="no message failed"):
        await platform.replays.replay(ReplayRequest(source, only="failed"))


DEAD_LETTERS = """
version: "1.0"
routes:
  work:
    inbound: {queue: work}
    adapters:
      - {type: fan, config: {count: 4}}
      - {type: fail, config: {numbers: [1, 2]}}
    error_handling: {dead_letter_queue: graves}
  graves:
    inbound: {queue: graves}
    adapters:
      - {type: fail, stage: bury, config: {numbers: [2]}}
init_message: {route: work}
"""


async def test_what_came_of_a_failure_is_not_replayed_beside_it(platform: Platform) -> None:
    """2 failed at work, and its dead letter failed at bury: one path, so it goes on from work."""
    source = (await platform.run(DEAD_LETTERS)).execution_id
    plan = await platform.replays.plan(ReplayRequest(source, only="failed"))
    assert {(entry.stage, entry.messages) for entry in plan.entries} == {("fail", 2)}
    assert plan.counts.covered == 1


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ReplayRequest("x"), "from_stage is missing"),
        (ReplayRequest("x", rerun=True, only="failed"), "--rerun needs a stage"),
        (ReplayRequest("x", to_route="second", only="failed"), "--to-route needs a stage"),
        (ReplayRequest("x", "fan", "second", rerun=True), "elsewhere"),
        (ReplayRequest("x", "fan", "second", only="failed"), "no artefact"),
        (ReplayRequest("x", "fan", sample=0), "at least 1"),
    ],
)
async def test_a_request_that_contradicts_itself_is_refused(
    platform: Platform, request_: ReplayRequest, said: str
) -> None:
    with pytest.raises(ReplayRefusedError, match=said):
        await platform.replays.replay(request_)
