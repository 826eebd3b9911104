"""What a replay changed: executions compared message by message, and drawn as a tree."""

from __future__ import annotations

from typing import Any

import pytest

from factflow_execution.errors import ExecutionNotFoundError
from factflow_replay.replay.errors import StageAmbiguousError, StageNotFoundError
from factflow_replay.replay.execution_diff import ExecutionDifference, ExecutionDiffs
from factflow_replay.replay.execution_tree import ExecutionNode, ExecutionTrees
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform

PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 5}}
      - {type: fail, config: {numbers: [3]}}
      - {type: echo, stage: mark, config: {fields: {by: source}}}
    outbound: middle
  second:
    inbound: {queue: middle}
    adapters:
      - {type: keep, config: {below: 9}}
      - {type: echo, stage: mark}
init_message: {route: first}
"""


async def replayed(platform: Platform, source: str, stage: str | None, **kwargs: Any) -> str:
    result = await platform.replays.replay(ReplayRequest(source, stage, **kwargs))
    return (await platform.end(result.execution.execution_id)).execution_id


async def compared(platform: Platform, a: str, b: str, **kwargs: Any) -> ExecutionDifference:
    return await ExecutionDiffs(platform.executions, platform.engine.storage).compare(
        a, b, **kwargs
    )


def counts(found: ExecutionDifference) -> dict[str, tuple[int, int, int, int]]:
    return {f"{s.route}/{s.stage}": (s.same, s.changed, s.only_a, s.only_b) for s in found.stages}


async def test_two_runs_of_one_pipeline_are_the_same(platform: Platform) -> None:
    one, two = [(await platform.run(PIPELINE)).execution_id for _ in range(2)]
    found = await compared(platform, one, two)
    assert found.same
    assert counts(found)["first/fail"] == (5, 0, 0, 0)
    assert found.changes == []


async def test_durations_are_compared_over_what_both_did(platform: Platform) -> None:
    slow = PIPELINE.replace("{type: echo, stage: mark}", "{type: misbehave, config: {how: stall}}")
    quick = slow.replace("how: stall", "how: none").replace("count: 5", "count: 1")
    one, two = [
        (await platform.run(text)).execution_id
        for text in (slow.replace("count: 5", "count: 1"), quick)
    ]
    found = await compared(platform, one, two, stage="misbehave")
    (stage,) = found.stages
    assert (stage.same, stage.changed) == (1, 0)
    assert stage.avg_ms_a is not None
    assert stage.avg_ms_b is not None
    assert stage.avg_ms_a > 1000 > stage.avg_ms_b


async def test_a_replay_is_compared_where_it_ran(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    replay = await replayed(platform, source, "fail")
    found = await compared(platform, source, replay)
    assert found.same
    assert [s.stage for s in found.stages if s.not_run_in == "b"] == ["fan"]
    assert counts(found)["first/fail"] == (1, 0, 0, 0)
    assert [s.not_run for s in found.stages if s.stage == "fail"] == [4]
    assert counts(found)["first/mark"] == (4, 0, 0, 0)
    assert (await compared(platform, replay, source)).same
    sample = await replayed(platform, source, "fail", sample=2)
    assert not (await compared(platform, source, sample)).same


async def test_changed_content_is_told_message_by_message(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    replay = await replayed(
        platform, source, "fail", rerun=True,
        overrides={"first.mark.fields.by": "replay", "first.fail.numbers": [0]},
    )  # fmt: skip
    found = await compared(platform, source, replay, content=True, limit=100)
    assert not found.same
    assert counts(found)["first/fail"] == (3, 2, 0, 0)
    assert counts(found)["first/mark"] == (0, 3, 1, 1)
    assert found.changes_left == 0
    changed = next(c for c in found.changes if c.stage == "mark" and c.kind == "changed")
    assert changed.diff is not None
    assert '-  "by": "source",' in changed.diff
    assert '+  "by": "replay",' in changed.diff
    failed = next(c for c in found.changes if c.stage == "fail")
    assert "failed with ValueError" in (failed.diff or "")


async def test_a_filter_and_a_fan_are_compared_by_what_they_let_through(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    other = (
        await platform.run(PIPELINE.replace("count: 5", "count: 4").replace("below: 9", "below: 1"))
    ).execution_id
    found = await compared(platform, source, other, content=True, limit=100)
    assert counts(found)["first/fan"] == (0, 1, 0, 0)
    assert counts(found)["second/keep"] == (1, 2, 1, 0)
    assert counts(found)["second/mark"] == (1, 0, 3, 0)
    fan = next(c for c in found.changes if c.stage == "fan")
    assert "-=item-4" in (fan.diff or "")


async def test_one_stage_alone_and_only_so_many_messages(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    replay = await replayed(
        platform, source, "fail", rerun=True, overrides={"first.mark.fields.by": "replay"}
    )
    found = await compared(platform, source, replay, stage="first/mark", limit=3)
    assert [s.stage for s in found.stages] == ["mark"]
    assert (len(found.changes), found.changes_left) == (3, 1)
    assert (await compared(platform, source, replay, stage="keep")).same is False
    with pytest.raises(StageAmbiguousError, match="mark"):
        await compared(platform, source, replay, stage="mark")
    with pytest.raises(StageNotFoundError) as caught:
        await compared(platform, source, replay, stage="nope")
    assert "first/fan" in caught.value.hint
    with pytest.raises(ExecutionNotFoundError):
        await compared(platform, source, "nobody")


async def test_forks_are_drawn_from_the_first_execution_on(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    await platform.run(PIPELINE)
    one = await replayed(platform, source, "fan")
    two = await replayed(platform, source, "fail", tag="two")
    three = await replayed(platform, one, "fail")

    def shape(node: ExecutionNode) -> Any:
        return node.execution.execution_id, [shape(replay) for replay in node.replays]

    tree = await ExecutionTrees(platform.executions).get(three)
    assert tree.asked == three
    assert shape(tree.root) == (source, [(one, [(three, [])]), (two, [])])
    assert [n.execution.execution_id for n in tree.below(one)] == [three]
    assert shape((await ExecutionTrees(platform.executions).get("two")).root) == shape(tree.root)
