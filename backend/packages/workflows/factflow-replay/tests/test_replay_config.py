"""A replay under other settings, or under another config, and the plan that shows it beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factflow_engine.config.issues import ConfigurationError
from factflow_execution.errors import ConfigInactiveError, ConfigNotFoundError
from factflow_protocols.errors import FactflowError
from factflow_replay.replay.errors import (
    ArtefactsMissingError,
    ReplayRefusedError,
    RouteNotFoundError,
    StageNotFoundError,
)
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform, platform_in

PIPELINE = """
version: "1.0"
name: before
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 3}}
      - {type: echo, stage: mark, config: {fields: {by: before}}}
    outbound: middle
  second.part:
    inbound: {queue: middle}
    adapters:
      - {type: echo, stage: last, config: {fields: {seen: [1, 2]}}}
init_message: {route: first}
"""

AFTER = """
version: "1.0"
name: after
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 3}}
      - {type: echo, stage: mark, config: {fields: {by: after}}}
      - {type: echo, stage: added, config: {fields: {added: true}}}
    outbound: middle
  second.part:
    inbound: {queue: renamed}
    adapters:
      - {type: echo, stage: last}
  late:
    inbound: {queue: middle}
    adapters: [{type: echo, stage: finish}]
init_message: {route: first}
"""


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def ended(platform: Platform, request: ReplayRequest) -> str:
    result = await platform.replays.replay(request)
    execution = await platform.end(result.execution.execution_id)
    assert execution.status == "completed"
    return execution.execution_id


async def test_an_override_counts_for_the_replay_alone_and_is_recorded(platform: Platform) -> None:
    source = await platform.run(PIPELINE)
    overrides = {"second.part.last.fields.seen.1": 9, "second.part.last.fields.new": "ü: {"}
    replay = await ended(platform, ReplayRequest(source.execution_id, "mark", overrides=overrides))
    outputs = await platform.engine.outputs(replay, "second.part", "last")
    assert [(o["seen"], o["new"]) for o in outputs] == [([1, 9], "ü: {")] * 3
    execution = await platform.executions.get(replay)
    assert execution.replay_source is not None
    assert execution.replay_source["set"] == overrides
    assert execution.replay_source["config_hash"] == source.config_hash
    assert execution.replay_source["new_config_hash"] == execution.config_hash != source.config_hash
    assert (await platform.executions.get(source.execution_id)) == source


@pytest.mark.parametrize(
    ("name", "value", "error", "said"),
    [
        ("nowhere.last.fields", 1, RouteNotFoundError, "first, second.part"),
        ("first.nope.fields", 1, StageNotFoundError, "first.fan, first.mark"),
        ("first.mark", 1, ReplayRefusedError, "first.fan, first.mark"),
        ("first.mark.", 1, ReplayRefusedError, "KEY"),
        ("second.part.last.fields.seen.7", 1, ReplayRefusedError, "numbered from 0"),
        ("first.fan.count.deeper", 1, ReplayRefusedError, "KEY"),
        ("first.fan.cuont", 1, ConfigurationError, "config validate"),
        ("first.fan.count", "three", ConfigurationError, "config validate"),
    ],
)
async def test_an_override_that_cannot_be_is_refused(
    platform: Platform, name: str, value: Any, error: type[FactflowError], said: str
) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    with pytest.raises(error) as caught:
        await platform.replays.replay(ReplayRequest(source, "fan", overrides={name: value}))
    assert said in caught.value.hint
    assert (await platform.executions.list()).total == 1


async def test_a_secret_is_overridden_by_reference_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTE_KEY", "s3cr3t-from-outside")
    adapters = str(Path(__file__).parent / "noting_adapters.py")
    text = PIPELINE.replace(
        "{type: echo, stage: mark, config: {fields: {by: before}}}", "{type: note}"
    )
    async with platform_in(tmp_path, modules=(adapters,)) as platform:
        source = (await platform.run(text)).execution_id
        literal = ReplayRequest(source, "fan", overrides={"first.note.key": "s3cr3t-literal"})
        for attempt in (platform.replays.plan, platform.replays.replay):
            with pytest.raises(ConfigurationError) as caught:
                await attempt(literal)
            assert [issue.code for issue in caught.value.report.errors] == ["E304"]
            assert "s3cr3t" not in str(caught.value)
        overrides = {"first.note.key": "${NOTE_KEY}"}
        replay = await ended(platform, ReplayRequest(source, "fan", overrides=overrides))
        execution = await platform.executions.get(replay)
    assert "${NOTE_KEY}" in execution.config_snapshot
    stored = b"".join(path.read_bytes() for path in files(tmp_path))
    assert b"s3cr3t" not in stored


async def test_a_config_runs_in_its_current_version(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    stored = (await platform.configs.create(PIPELINE)).config
    await platform.configs.update(stored.id, AFTER)
    request = ReplayRequest(source, "mark", config_id=stored.id)
    replay = await ended(platform, request)
    execution = await platform.executions.get(replay)
    assert (execution.config_id, execution.config_version) == (stored.id, 2)
    assert execution.parent_execution_id == source
    (finished, *_) = await platform.engine.outputs(replay, "late", "finish")
    assert finished["by"] == "before", "mark is not run again"
    assert finished["added"] is True, "the stage that was added runs"
    assert await platform.engine.records(replay, "second.part", "last") == []


async def test_a_route_added_later_takes_artefacts_of_the_source(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    stored = (await platform.configs.create(AFTER)).config
    replay = await ended(platform, ReplayRequest(source, "fan", "late", config_id=stored.id))
    assert len(await platform.engine.outputs(replay, "late", "finish")) == 3


async def test_documents_keep_their_origins_under_a_config_with_other_queues(
    platform: Platform,
) -> None:
    """So that both executions can be compared message by message."""
    source = (await platform.run(PIPELINE)).execution_id
    renamed = (await platform.configs.create(PIPELINE.replace("middle", "renamed"))).config
    replay = await ended(platform, ReplayRequest(source, "mark", config_id=renamed.id))
    old, new = [
        {r.origin_id for r in await platform.engine.records(execution, "second.part", "last")}
        for execution in (source, replay)
    ]
    assert old == new


async def test_without_a_config_names_are_looked_up_in_the_snapshot(platform: Platform) -> None:
    """The stored config changed the route's queue, then lost the route, then was deleted."""
    stored = (await platform.configs.create(PIPELINE)).config
    started = await platform.executions.launch(await platform.configs.draft(stored.id))
    source = (await platform.end(started.execution_id)).execution_id
    for change in ("queue: middle}", "second.part:"):
        await platform.configs.update(stored.id, PIPELINE.replace(change, f"x{change}"))
        replay = await ended(platform, ReplayRequest(source, "mark", "second.part"))
        assert len(await platform.engine.outputs(replay, "second.part", "last")) == 3
    await platform.configs.deactivate(stored.id)
    await ended(platform, ReplayRequest(source, "mark"))


async def test_stages_that_only_one_side_has_are_refused_with_the_candidates(
    platform: Platform,
) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    after = (await platform.configs.create(AFTER)).config
    without_mark = AFTER.replace("stage: mark", "stage: other")
    other = (await platform.configs.create(without_mark, name="other")).config
    with pytest.raises(StageNotFoundError, match="the source's pipeline has no") as in_source:
        await platform.replays.plan(ReplayRequest(source, "added", config_id=after.id))
    assert "first/mark" in in_source.value.hint
    with pytest.raises(StageNotFoundError, match="config 'other' has no") as in_config:
        await platform.replays.plan(ReplayRequest(source, "mark", config_id=other.id))
    assert "first/other" in in_config.value.hint
    with pytest.raises(RouteNotFoundError, match="config 'after' has no route 'nowhere'"):
        await platform.replays.plan(ReplayRequest(source, "mark", "nowhere", config_id=after.id))


async def test_unknown_and_deleted_configs_are_refused(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    with pytest.raises(ConfigNotFoundError):
        await platform.replays.plan(ReplayRequest(source, "mark", config_id="nobody"))
    stored = (await platform.configs.create(AFTER)).config
    await platform.configs.deactivate(stored.id)
    with pytest.raises(ConfigInactiveError):
        await platform.replays.plan(ReplayRequest(source, "mark", config_id=stored.id))


async def test_a_dry_run_shows_the_plan_and_starts_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    stored = (await platform.configs.create(AFTER)).config
    request = ReplayRequest(
        source, "mark", config_id=stored.id, overrides={"first.added.fields": {"added": 1}}
    )
    before = files(tmp_path)
    plan = await platform.replays.plan(request)
    assert (await platform.executions.list()).total == 1
    assert files(tmp_path) == before
    assert (plan.messages, plan.to_queue) == (3, "start")
    assert [(entry.route, entry.stage) for entry in plan.entries] == [("first", "added")]
    assert [(s.stage, s.source_adapter, s.changed) for s in plan.stages] == [
        ("added", None, False),
        ("finish", None, False),
    ]
    found = {(d.kind, d.path) for d in plan.differences}
    assert ("changed", "name") in found
    assert ("changed", "routes.first.adapters.mark.config.fields.by") in found
    assert ("added", "routes.first.adapters.added") in found
    assert ("added", "routes.late") in found
    assert ("changed", "routes.second.part.inbound.queue") in found
    result = await platform.replays.replay(request)
    assert result.plan == plan, "a replay does exactly its plan"
    await platform.end(result.execution.execution_id)


async def test_a_plan_names_old_and_new_adapter_versions(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    plan = await platform.replays.plan(ReplayRequest(source, "mark"))
    (last,) = plan.stages
    assert last.version == last.source_version == platform.engine.registry.get("echo").version
    assert not last.changed
    assert plan.differences == ()


async def test_a_dry_run_lists_what_is_missing(platform: Platform, tmp_path: Path) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    (record,) = await platform.engine.records(source, "first", "fan")
    gone = record.children[1].input_key
    (tmp_path / "storage" / gone).unlink()
    plan = await platform.replays.plan(ReplayRequest(source, "fan"))
    assert (plan.missing, plan.missing_count) == ((gone,), 1)
    with pytest.raises(ArtefactsMissingError):
        await platform.replays.replay(ReplayRequest(source, "fan"))
    assert list((tmp_path / "storage" / "executions").iterdir()) == [
        tmp_path / "storage" / "executions" / source
    ]
