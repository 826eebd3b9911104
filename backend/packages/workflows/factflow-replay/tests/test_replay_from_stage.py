"""What a replay runs again, what it does not, and what it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from factflow_replay.replay.errors import (
    ArtefactsMissingError,
    ReplayEmptyError,
    RouteNotFoundError,
    StageAmbiguousError,
    StageNotFoundError,
)
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform
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
      - {type: echo, stage: tail}
    outbound: {queue: middle}
  second:
    inbound: {queue: middle}
    adapters:
      - {type: echo, stage: last, config: {fields: {seen: true}}}
init_message: {route: first, payload: {hello: 1}}
"""


async def outputs(platform: Platform, execution: str, route: str, stage: str) -> list[Any]:
    found = await platform.engine.outputs(execution, route, stage)
    return sorted(output["n"] for output in found)


def manifest(folder: Path, execution: str) -> dict[str, str]:
    root = folder / "storage" / "executions" / execution
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


async def test_the_stage_itself_does_not_run_again(platform: Platform, tmp_path: Path) -> None:
    source = await platform.run(PIPELINE)
    before = manifest(tmp_path, source.execution_id)
    result, replay = await platform.replay(source.execution_id, "fan")
    assert result.objects_found == 6
    assert result.note == "fan is not run again for 1 message; --rerun runs it for all"
    assert await platform.engine.records(replay.execution_id, "first", "fan") == []
    assert await outputs(platform, replay.execution_id, "second", "last") == [0, 1, 2, 3]
    assert manifest(tmp_path, source.execution_id) == before


async def test_failed_messages_run_again_at_the_stage_others_go_on_after_it(
    platform: Platform,
) -> None:
    source = await platform.run(PIPELINE)
    assert source.status == "failed"
    result, replay = await platform.replay(source.execution_id, "fail")
    assert (result.counts.after_stage, result.counts.at_stage_failed) == (5, 1)
    again = await platform.engine.records(replay.execution_id, "first", "fail")
    assert [record.outcome for record in again] == ["failed"]
    assert await outputs(platform, replay.execution_id, "second", "last") == [0, 1, 2, 3]


async def test_filtered_messages_are_counted_and_stay_out(platform: Platform) -> None:
    source = await platform.run(PIPELINE)
    result, replay = await platform.replay(source.execution_id, "keep")
    assert (result.counts.after_stage, result.counts.filtered) == (4, 1)
    assert replay.status == "completed"


async def test_from_the_last_stage_it_goes_on_in_the_next_route(platform: Platform) -> None:
    source = await platform.run(PIPELINE)
    result, replay = await platform.replay(source.execution_id, "tail")
    assert result.to_queue == "middle"
    assert await outputs(platform, replay.execution_id, "second", "last") == [0, 1, 2, 3]


async def test_origins_stay_those_of_the_source(platform: Platform) -> None:
    source = await platform.run(PIPELINE)
    for stage in ("fan", "keep", "tail"):
        _, replay = await platform.replay(source.execution_id, stage)
        ours = await platform.engine.records(replay.execution_id, "second", "last")
        theirs = await platform.engine.records(source.execution_id, "second", "last")
        assert {r.origin_id for r in ours} == {r.origin_id for r in theirs}
        assert {r.output_hash for r in ours} == {r.output_hash for r in theirs}


async def test_to_route_sends_the_artefacts_there_and_not_down_their_own_way(
    platform: Platform,
) -> None:
    source = await platform.run(PIPELINE)
    result, replay = await platform.replay(source.execution_id, "fail", "second")
    assert result.counts.without_artefact == 1
    assert await outputs(platform, replay.execution_id, "second", "last") == [0, 1, 2, 3, 5]
    assert await platform.engine.records(replay.execution_id, "first", "keep") == []


async def test_a_replay_can_be_replayed(platform: Platform) -> None:
    source = await platform.run(PIPELINE)
    _, once = await platform.replay(source.execution_id, "fan")
    _, twice = await platform.replay(once.execution_id, "keep")
    assert await outputs(platform, twice.execution_id, "second", "last") == [0, 1, 2, 3]
    assert twice.parent_execution_id == once.execution_id


async def test_provenance_is_recorded(platform: Platform) -> None:
    source = await platform.run(PIPELINE)
    _, replay = await platform.replay(source.execution_id, "first/fan")
    assert (replay.source, replay.parent_execution_id) == ("replay", source.execution_id)
    assert replay.replay_source is not None
    assert replay.replay_source["from_stage"] == "first/fan"
    roots = [r for r in await platform.engine.lineage_rows(replay.execution_id) if not r.parent_id]
    source_rows = {r.id for r in await platform.engine.lineage_rows(source.execution_id)}
    assert len(roots) == 6
    assert {row.replayed_from for row in roots} <= source_rows


async def test_what_a_cancelled_run_left_queued_runs_in_the_replay(platform: Platform) -> None:
    text = PIPELINE.replace("{type: echo, stage: tail}", "{type: hang, stage: tail}")
    source = await platform.start(text)

    async def all_kept() -> bool:
        return len(await platform.engine.records(source.execution_id, "first", "keep")) == 5

    await eventually(all_kept)
    await platform.executions.cancel(source.execution_id, 0.0)
    ended = await platform.end(source.execution_id)
    assert ended.status == "cancelled"
    result = await platform.replays.replay(ReplayRequest(source.execution_id, "tail"))
    assert result.counts.at_stage_queued == 4
    await platform.executions.cancel(result.execution.execution_id, 0.0)


async def test_a_skipped_stage_is_continued_from_behind(platform: Platform) -> None:
    text = PIPELINE.replace(
        "{type: fail, config: {numbers: [4]}}",
        "{type: fail, config: {numbers: [4]}, condition: {field: n, operator: gt, value: 3}}",
    )
    source = await platform.run(text)
    result, replay = await platform.replay(source.execution_id, "fail")
    counts = result.counts
    assert (counts.skipped_by_condition, counts.after_stage, counts.at_stage_failed) == (4, 1, 1)
    assert await outputs(platform, replay.execution_id, "second", "last") == [0, 1, 2, 3]


async def test_missing_artefacts_fail_the_request_with_their_keys(
    platform: Platform, tmp_path: Path
) -> None:
    source = await platform.run(PIPELINE)
    (record,) = await platform.engine.records(source.execution_id, "first", "fan")
    gone = record.children[2].input_key
    (tmp_path / "storage" / gone).unlink()
    count = (await platform.executions.list()).total
    with pytest.raises(ArtefactsMissingError) as caught:
        await platform.replays.replay(ReplayRequest(source.execution_id, "fan"))
    assert caught.value.keys == [gone]
    assert (await platform.executions.list()).total == count


async def test_a_damaged_artefact_fails_its_own_message(platform: Platform, tmp_path: Path) -> None:
    source = await platform.run(PIPELINE)
    (record,) = await platform.engine.records(source.execution_id, "first", "fan")
    first = next(child for child in record.children if child.name == "=item-0")
    (tmp_path / "storage" / first.input_key).write_bytes(b'{"n": 99}')
    _, replay = await platform.replay(source.execution_id, "fan")
    assert len(await outputs(platform, replay.execution_id, "second", "last")) < 4
    failed = [
        row.error.type
        for row in await platform.engine.lineage_rows(replay.execution_id)
        if row.error is not None
    ]
    assert "ObjectDamagedError" in failed


@pytest.mark.parametrize(
    ("stage", "route", "error", "hint"),
    [
        ("nope", None, StageNotFoundError, "first/fan"),
        ("second/fan", None, StageNotFoundError, "second/last"),
        ("fan", "nowhere", RouteNotFoundError, "first, second"),
        ("last", None, ReplayEmptyError, "--to-route"),
    ],
)
async def test_what_cannot_be_resolved_is_refused_with_the_candidates(
    platform: Platform, stage: str, route: str | None, error: type[Exception], hint: str
) -> None:
    source = await platform.run(PIPELINE)
    with pytest.raises(error) as caught:
        await platform.replays.replay(ReplayRequest(source.execution_id, stage, route))
    assert hint in caught.value.hint  # type: ignore[attr-defined]  # all are FactflowErrors


async def test_an_ambiguous_stage_lists_its_routes(platform: Platform) -> None:
    text = PIPELINE.replace("stage: last", "stage: tail")
    source = await platform.run(text)
    with pytest.raises(StageAmbiguousError) as caught:
        await platform.replays.replay(ReplayRequest(source.execution_id, "tail"))
    assert "first/tail, second/tail" in caught.value.hint


async def test_an_empty_selection_says_why(platform: Platform) -> None:
    source = await platform.run(PIPELINE.replace("below: 4", "below: 0"))
    with pytest.raises(ReplayEmptyError, match="5 messages filtered there"):
        await platform.replays.replay(ReplayRequest(source.execution_id, "keep"))


CYCLE = """
version: "1.0"
routes:
  loop:
    inbound: {queue: again}
    adapters:
      - {type: echo, stage: step}
      - {type: increment, stage: count}
      - {type: keep, config: {below: 3}, stage: gate}
    outbound: {queue: again}
init_message: {route: loop, payload: {n: 0}}
"""


async def test_on_a_cycle_only_the_earliest_message_of_a_path_is_published(
    platform: Platform,
) -> None:
    source = await platform.run(CYCLE)
    assert source.status == "completed"
    assert len(await platform.engine.records(source.execution_id, "loop", "step")) == 3
    result, replay = await platform.replay(source.execution_id, "step")
    assert (result.counts.after_stage, result.counts.covered) == (1, 2)
    assert len(await platform.engine.records(replay.execution_id, "loop", "gate")) == 3
