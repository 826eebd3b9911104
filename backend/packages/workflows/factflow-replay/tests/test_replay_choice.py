"""Messages chosen one by one, by what lineage knows of them, or as a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factflow_foundation import ids
from factflow_replay.replay.errors import (
    MessagesNotFoundError,
    ReplayEmptyError,
    ReplayRefusedError,
)
from factflow_replay.replay.models import ReplayRequest
from factflow_replay.replay.plan import PlanSource, PlanWriter
from factflow_testing.platform import Platform

PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 12}}
      - {type: fail, config: {numbers: [4, 7], message: "Timeout after 30 s"}}
      - {type: echo, stage: last}
init_message: {route: first}
"""


async def replayed(platform: Platform, numbers: Any, source: str, **kwargs: Any) -> list[int]:
    """Replay from `fail` and return the numbers that came out."""
    overrides = {"first.fail.numbers": [99]}
    request = ReplayRequest(source, "fail", overrides=overrides, **kwargs)
    result = await platform.replays.replay(request)
    await platform.end(result.execution.execution_id)
    found: list[int] = await numbers(result.execution.execution_id, "first", "last")
    return found


async def test_messages_are_named_by_any_of_their_ids(platform: Platform, numbers: Any) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    records = await platform.engine.records(source, "first", "fail")
    by_url = {record.metadata["url"].rpartition("/")[2]: record for record in records}
    later = ids.lineage_id(source, "first", "last", by_url["9"].message_id)
    names = (by_url["2"].message_id, by_url["4"].lineage_id, by_url["6"].origin_id, later)
    assert await replayed(platform, numbers, source, messages=names) == [2, 4, 6, 9]


async def test_ids_of_nobody_are_named_and_nothing_starts(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    (record, *_) = await platform.engine.records(source, "first", "fail")
    request = ReplayRequest(source, "fail", messages=(record.message_id, "feedbeef"))
    with pytest.raises(MessagesNotFoundError, match="that came to first/fail: feedbeef") as caught:
        await platform.replays.replay(request)
    assert caught.value.missing == ["feedbeef"]
    assert (await platform.executions.list()).total == 1


@pytest.mark.parametrize(
    ("conditions", "chosen"),
    [
        (["status=failed"], [4, 7]),
        (["status!=failed"], [0, 1, 2, 3, 5, 6, 8, 9, 10, 11]),
        (["error~timeout"], [4, 7]),
        (["error_type=ValueError", "url=https://example.com/7"], [7]),
        (["url~/1"], [1, 10, 11]),
        (["url~/1", "url!=https://example.com/1"], [10, 11]),
        (["outcome=stored", "attempts=1", "url~com/3"], [3]),
    ],
)
async def test_messages_are_chosen_by_what_lineage_knows(
    platform: Platform, numbers: Any, conditions: list[str], chosen: list[int]
) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    assert await replayed(platform, numbers, source, where=tuple(conditions)) == chosen


async def test_a_condition_that_nothing_fulfils_says_so(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    with pytest.raises(ReplayEmptyError, match="12 messages not among those asked for"):
        await platform.replays.plan(ReplayRequest(source, "fail", where=("url=nowhere",)))
    with pytest.raises(ReplayEmptyError, match="no message has a field urll") as caught:
        await platform.replays.plan(ReplayRequest(source, "fail", where=("urll=nowhere",)))
    assert "error_type" in caught.value.hint
    assert "url" in caught.value.hint


@pytest.mark.parametrize("condition", ["url", "=x", "status=broken", "a b=c"])
async def test_what_is_no_condition_is_refused(platform: Platform, condition: str) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    with pytest.raises(ReplayRefusedError):
        await platform.replays.plan(ReplayRequest(source, "fail", where=(condition,)))


async def test_a_sample_is_the_same_every_time_and_grows(platform: Platform, numbers: Any) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    once = await replayed(platform, numbers, source, sample=4)
    assert len(once) == 4
    assert await replayed(platform, numbers, source, sample=4) == once
    other = (await platform.run(PIPELINE)).execution_id
    assert await replayed(platform, numbers, other, sample=4) == once
    assert set(once) < set(await replayed(platform, numbers, source, sample=7))
    assert len(await replayed(platform, numbers, source, sample=100)) == 12
    plan = await platform.replays.plan(ReplayRequest(source, "fail", sample=5))
    assert (plan.messages, plan.counts.not_sampled) == (5, 7)


async def test_choices_add_up(platform: Platform, numbers: Any) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    found = await replayed(platform, numbers, source, only="failed", where=("url~/7",), sample=3)
    assert found == [7]


async def test_a_long_plan_is_stored_in_parts_and_read_from_anywhere(
    platform: Platform, tmp_path: Path
) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    plan = await platform.replays.replay(ReplayRequest(source, "fan"))
    await platform.end(plan.execution.execution_id)
    storage = platform.engine.storage
    short = PlanSource(storage, plan.execution.execution_id)
    lines = (await storage.read(f"executions/{plan.execution.execution_id}/_plan")).splitlines(True)
    writer = PlanWriter(storage, "long", lines=5)
    for line in lines:
        await writer.add(line)
    long = await writer.close()
    assert await long.exists()
    names = [item.key async for item in storage.list("executions/long")]
    assert len(names) == 4
    for start in (0, 3, 5, 11, 12):
        expected = [message async for message in short.items(start)]
        assert [message async for message in long.items(start)] == expected
        assert len(expected) == 12 - start
