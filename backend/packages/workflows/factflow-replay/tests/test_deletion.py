"""Executions are deleted behind the work, unless something needs them, and leave a tombstone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from factflow_execution.errors import (
    ExecutionDeletedError,
    ExecutionHeldError,
    ExecutionStateError,
)
from factflow_execution.execution_deleter import Choice, DeletionRequest, Progress
from factflow_execution.models import ExecutionDraft
from factflow_lineage.filters import LineageFilter
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform, platform_in

PIPELINE = """
version: "1.0"
routes:
  up:
    inbound: {queue: up}
    adapters:
      - {type: fan, config: {count: 3}}
      - {type: fail, stage: picky, config: {numbers: [1]}}
    outbound: down
  down:
    inbound: {queue: down}
    adapters: [{type: echo, stage: last}]
init_message: {route: up}
"""
MENDED = {"up.picky.numbers": [99]}


async def delete(platform: Platform, *ids: str, kind: str = "all") -> list[Choice]:
    request = DeletionRequest(execution_ids=ids, kind=kind)  # type: ignore[arg-type]  # one of two
    return await platform.deleter.request(request)


async def deleted(platform: Platform, execution_id: str) -> Progress:
    done = await platform.deleter.progress(execution_id, 30)
    assert done.deletion.deleted_at is not None
    return done


async def objects(platform: Platform, execution_id: str) -> list[str]:
    return [info.key async for info in platform.engine.storage.list(f"executions/{execution_id}")]


async def records(platform: Platform, execution_id: str) -> list[str]:
    listing = platform.engine.storage.list(f"executions/{execution_id}", records=True)
    return [info.key async for info in listing]


async def start(platform: Platform, source: str, stage: str = "fan", **more: object) -> str:
    request = ReplayRequest(source, stage, **more)  # type: ignore[arg-type]  # as a caller spells it
    return (await platform.replays.replay(request)).execution.execution_id


async def test_a_deleted_execution_leaves_its_row_and_says_when(platform: Platform) -> None:
    draft = ExecutionDraft(None, "test", None, PIPELINE, tag="monday")
    source = (await platform.executions.launch(draft)).execution_id
    other = (await platform.run(PIPELINE)).execution_id
    await platform.end(source)
    kept = await objects(platform, other)
    count = len(await objects(platform, source))
    (choice,) = await delete(platform, "monday")
    assert choice.refused is None
    done = await deleted(platform, source)
    assert (done.step, done.deletion.objects, done.deletion.tag) == ("done", count, "monday")
    assert done.deletion.lineage_rows == 1 + 3 + 2
    assert done.deletion.bytes > 0
    assert await objects(platform, source) + await records(platform, source) == []
    assert await objects(platform, other) == kept
    assert (await platform.engine.rows.list(LineageFilter(execution_id=source))).total == 0
    row = await platform.executions.get(source)
    assert (row.status, row.message_count, row.tag) == ("failed", 6, None)
    assert [one.execution_id for one in (await platform.executions.list()).rows] == [other]
    assert (await platform.executions.list(deleted=True)).total == 2
    with pytest.raises(ExecutionDeletedError, match="was deleted on 20"):
        await start(platform, source)
    with pytest.raises(ExecutionDeletedError, match="was deleted on 20"):
        await platform.executions.holds.take("late", [source])
    again = await platform.executions.launch(replace(draft, tag="monday"))
    await platform.end(again.execution_id)


async def test_what_runs_or_is_held_is_refused_and_says_by_whom(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    await platform.pauses.pause("up")
    replay = await start(platform, source)
    refused = {
        choice.execution.execution_id: choice for choice in await delete(platform, source, replay)
    }
    assert isinstance(refused[replay].refused, ExecutionStateError)
    held = refused[source].refused
    assert isinstance(held, ExecutionHeldError)
    assert held.holders == [replay]
    assert replay in held.message
    await platform.pauses.resume("up")
    assert (await platform.end(replay)).status == "failed"
    assert isinstance((await delete(platform, source))[0].refused, ExecutionHeldError)
    dry = DeletionRequest(execution_ids=(source, replay))
    assert [choice.refused for choice in await platform.deleter.request(dry, dry_run=True)] == [
        None
    ] * 2
    assert await objects(platform, source)
    assert [choice.refused for choice in await delete(platform, source, replay)] == [None, None]
    await deleted(platform, source)
    await deleted(platform, replay)


async def test_artefacts_go_and_records_and_lineage_stay(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    before = await records(platform, source)
    rows = (await platform.engine.rows.list(LineageFilter(execution_id=source))).total
    await delete(platform, source, kind="artefacts")
    await deleted(platform, source)
    assert await objects(platform, source) == []
    assert await records(platform, source) == before
    assert (await platform.engine.rows.list(LineageFilter(execution_id=source))).total == rows
    with pytest.raises(
        ExecutionDeletedError, match=r"artefacts of execution .* were deleted on 20"
    ):
        await start(platform, source)
    with pytest.raises(ExecutionDeletedError, match="were deleted on 20"):
        await platform.replays.plan(ReplayRequest(source, "fan"))
    await delete(platform, source)
    assert (await deleted(platform, source)).deletion.lineage_rows == rows
    assert await records(platform, source) == []


async def test_a_replay_outlives_its_source_as_far_as_it_has_its_own(platform: Platform) -> None:
    """What it stored itself can be replayed; what lies in the source was deleted, not lost."""
    source = (await platform.run(PIPELINE)).execution_id
    replay = await start(platform, source, overrides=MENDED)
    assert (await platform.end(replay)).status == "completed"
    assert [choice.refused for choice in await delete(platform, source)] == [None]
    await deleted(platform, source)
    again = await start(platform, replay, "picky")
    assert (await platform.end(again)).status == "completed"
    with pytest.raises(ExecutionDeletedError, match=f"execution {source} was deleted on 20"):
        await start(platform, replay, "picky", rerun=True)


async def test_a_replay_of_a_replay_holds_the_first_source_too(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    replay = await start(platform, source, overrides=MENDED)
    await platform.end(replay)
    await platform.pauses.pause("up")
    second = await start(platform, replay, "picky", rerun=True)
    refused = (await delete(platform, source))[0].refused
    assert isinstance(refused, ExecutionHeldError)
    assert refused.holders == [second]
    await platform.pauses.resume("up")
    await platform.end(second)


async def test_what_matches_goes_oldest_first_up_to_a_limit(platform: Platform) -> None:
    ids = [(await platform.run(PIPELINE)).execution_id for _ in range(3)]
    old = DeletionRequest(older_than=3600.0)
    assert await platform.deleter.request(old) == []
    some = DeletionRequest(statuses=("failed",), limit=2)
    chosen = await platform.deleter.request(some)
    assert [choice.execution.execution_id for choice in chosen] == [ids[1], ids[0]]
    assert not any(choice.named for choice in chosen)
    for execution_id in ids[:2]:
        await deleted(platform, execution_id)
    left = await platform.deleter.request(some, dry_run=True)
    assert [choice.execution.execution_id for choice in left] == [ids[2]]


async def test_lineage_that_is_made_again_leaves_out_what_was_deleted(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as platform:
        source = (await platform.run(PIPELINE)).execution_id
        await platform.filler.close()
        await delete(platform, source)
        await deleted(platform, source)
    (tmp_path / "lineage.db").unlink()
    async with platform_in(tmp_path) as platform:
        other = (await platform.run(PIPELINE)).execution_id
        assert (await platform.engine.rows.list(LineageFilter(execution_id=source))).total == 0
        assert (await platform.engine.rows.list(LineageFilter(execution_id=other))).total > 0
