"""Earlier replays laid over the source: what they repaired and what they replaced goes on together."""

from __future__ import annotations

from typing import Any

import pytest

from factflow_execution.errors import ExecutionNotFoundError
from factflow_replay.replay import source_records
from factflow_replay.replay.errors import NotAReplayError, ReplayEmptyError, ReplayRefusedError
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform

PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 6}}
      - {type: fail, config: {numbers: [3, 4]}}
      - {type: echo, stage: mark, config: {fields: {by: source}}}
    outbound: middle
  second:
    inbound: {queue: middle}
    adapters:
      - {type: echo, stage: last}
      - {type: echo, stage: end}
init_message: {route: first}
"""


async def replayed(platform: Platform, *args: Any, **kwargs: Any) -> str:
    result = await platform.replays.replay(ReplayRequest(*args, **kwargs))
    return (await platform.end(result.execution.execution_id)).execution_id


async def fixed(platform: Platform, source: str, **changes: Any) -> str:
    """Replay what failed; 4 fails again, and `by` tells who repaired 3."""
    overrides = {"first.fail.numbers": [4], "first.mark.fields.by": "repair", **changes}
    return await replayed(platform, source, only="failed", overrides=overrides)


async def test_results_and_repaired_ones_go_on_together(platform: Platform, numbers: Any) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    repair = await fixed(platform, source)
    result = await platform.replays.replay(ReplayRequest(source, "fail", overlays=(repair,)))
    replay = (await platform.end(result.execution.execution_id)).execution_id
    assert (result.counts.after_stage, result.counts.at_stage_failed) == (5, 1)
    assert await numbers(replay, "second", "last") == [0, 1, 2, 3, 5]
    execution = await platform.executions.get(replay)
    assert execution.replay_source is not None
    assert execution.replay_source["with"] == [repair]


async def test_only_failed_leaves_out_what_an_earlier_replay_repaired(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    repair = await fixed(platform, source)
    plan = await platform.replays.plan(ReplayRequest(source, only="failed", overlays=(repair,)))
    assert plan.messages == 1
    rest = await replayed(
        platform, source, only="failed", overlays=(repair,), overrides={"first.fail.numbers": [99]}
    )
    with pytest.raises(ReplayEmptyError, match="no message failed"):
        await platform.replays.plan(ReplayRequest(source, only="failed", overlays=(repair, rest)))


async def test_the_last_named_success_wins_and_a_failure_never_covers_one(
    platform: Platform,
) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    one = await fixed(platform, source)
    two = await fixed(platform, source, **{"first.mark.fields.by": "second"})
    worse = await fixed(platform, source, **{"first.fail.numbers": [3, 4]})

    async def who(*overlays: str) -> list[tuple[int, str]]:
        replay = await replayed(platform, source, "mark", overlays=overlays)
        outputs = await platform.engine.outputs(replay, "second", "last")
        return sorted((output["n"], output["by"]) for output in outputs if output["n"] == 3)

    assert await who(one) == [(3, "repair")]
    assert await who(one, two) == [(3, "second")]
    assert await who(two, one, worse) == [(3, "repair")]


async def test_children_of_a_covered_outcome_are_replaced(platform: Platform, numbers: Any) -> None:
    """The fan ran again and emitted fewer children: the others do not count any more."""
    source = (await platform.run(PIPELINE)).execution_id
    fewer = await replayed(
        platform,
        source,
        "fan",
        rerun=True,
        overrides={"first.fan.count": 4, "first.fail.numbers": [1]},
    )
    # 1 failed in that replay, but the source's outcome for it stands.
    for stage, done in {"fan": 1, "fail": 4, "mark": 4, "last": 4}.items():
        result = await platform.replays.replay(ReplayRequest(source, stage, overlays=(fewer,)))
        replay = (await platform.end(result.execution.execution_id)).execution_id
        assert (result.counts.after_stage, result.counts.at_stage_failed) == (done, 0)
        assert result.plan.messages == 4
        ended = await numbers(replay, "second", "end")
        assert ended == ([0, 1, 2] if stage == "fan" else [0, 1, 2, 3])


async def test_a_large_overlay_is_read_like_a_small_one(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above some number of messages its ids are not held in memory, but looked up."""
    source = (await platform.run(PIPELINE)).execution_id
    one = await fixed(platform, source)
    two = await fixed(platform, source, **{"first.mark.fields.by": "second"})
    requests = [
        ReplayRequest(source, stage, rerun=rerun, overlays=(one, two))
        for stage in ("fail", "mark", "last")
        for rerun in (False, True)
    ]
    expected = [await platform.replays.plan(request) for request in requests]
    monkeypatch.setattr(source_records, "IDS_HELD", 0)
    assert [await platform.replays.plan(request) for request in requests] == expected
    assert [plan.messages for plan in expected] == [6, 6, 5, 5, 5, 5]


async def test_a_filtered_outcome_takes_its_later_stages_along(
    platform: Platform, numbers: Any
) -> None:
    text = PIPELINE.replace(
        "{type: echo, stage: mark, config: {fields: {by: source}}}",
        "{type: keep, config: {below: 6}}\n      - {type: echo, stage: mark}",
    )
    source = (await platform.run(text)).execution_id
    stricter = await replayed(
        platform, source, "keep", rerun=True, overrides={"first.keep.below": 2}
    )
    replay = await replayed(platform, source, "mark", overlays=(stricter,))
    assert await numbers(replay, "second", "last") == [0, 1]


async def test_replays_of_replays_can_be_laid_over(platform: Platform, numbers: Any) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    repair = await fixed(platform, source)
    again = await replayed(platform, repair, only="failed", overrides={"first.fail.numbers": [99]})
    replay = await replayed(platform, source, "mark", overlays=(repair, again))
    assert await numbers(replay, "second", "last") == [0, 1, 2, 3, 4, 5]


async def test_a_message_that_an_overlay_took_up_is_not_published_twice(
    platform: Platform,
) -> None:
    """It stood before a stage that was skipped for it; the replay took it up behind that stage."""
    gate = "- {type: echo, stage: gate, condition: {field: n, operator: gt, value: 99}}"
    text = PIPELINE.replace("- {type: fail,", f"{gate}\n      - {{type: fail,")
    source = (await platform.run(text)).execution_id
    repair = await fixed(platform, source)
    plan = await platform.replays.plan(
        ReplayRequest(source, "fail", rerun=True, overlays=(repair,))
    )
    assert plan.messages == 6


@pytest.mark.parametrize("which", ["itself", "stranger", "unknown", "twice"])
async def test_only_replays_of_the_source_can_be_laid_over(platform: Platform, which: str) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    repair = await fixed(platform, source)
    stranger = (await platform.run(PIPELINE)).execution_id
    names = {
        "itself": ((source,), NotAReplayError),
        "stranger": ((stranger,), NotAReplayError),
        "unknown": (("nobody",), ExecutionNotFoundError),
        "twice": ((repair, repair), ReplayRefusedError),
    }
    overlays, error = names[which]
    with pytest.raises(error) as caught:
        await platform.replays.plan(ReplayRequest(source, "mark", overlays=overlays))
    if isinstance(caught.value, NotAReplayError):
        assert repair in caught.value.hint
