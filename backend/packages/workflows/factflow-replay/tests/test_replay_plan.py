"""The plan: what it says of code and artefacts, that a replay does just that, and what making it needs."""

from __future__ import annotations

import functools
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from factflow_engine.config.loader import PipelineConfigLoader
from factflow_replay.replay import detached_replay_service
from factflow_replay.replay.detached_replay_service import DetachedReplayService
from factflow_replay.replay.errors import ArtefactsMissingError, ReplayEmptyError
from factflow_replay.replay.models import ReplayRequest
from factflow_replay.replay.plan import PlanSource, PlanWriter
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
      - {type: echo, stage: mark}
init_message: {route: first}
"""
GREETER = """
from factflow_protocols.pipeline import AdapterResult, register_adapter_type


@register_adapter_type("greet")
class Greeter:
    def __init__(self, config):
        pass

    async def process(self, context):
        return AdapterResult({**context.payload, "said": "Hello"})
"""


def lose_lineage(folder: Path) -> None:
    for path in folder.glob("lineage.db*"):
        path.unlink()


def without_lineage(platform: Platform) -> DetachedReplayService:
    """The service as a program makes it that has no lineage at hand."""
    return DetachedReplayService(
        executions=platform.executions,
        configs=platform.configs,
        loader=PipelineConfigLoader(platform.engine.registry),
        registry=platform.engine.registry,
        storage=platform.engine.storage,
    )


async def test_a_plan_tells_which_code_ran_and_which_will_run(tmp_path: Path) -> None:
    """The adapter was edited before the server was started anew, and once more since."""
    old, module = tmp_path / "greeter.py", tmp_path / "better_greeter.py"
    old.write_text(GREETER)
    module.write_text(GREETER.replace("Hello", "Good morning"))
    text = PIPELINE.replace("{type: echo, stage: mark}", "{type: greet}")
    data = tmp_path / "data"
    data.mkdir()
    async with platform_in(data, modules=(str(old),)) as platform:
        source = (await platform.run(text)).execution_id
        before = platform.engine.registry.get("greet").version
    async with platform_in(data, modules=(str(module),)) as platform:
        plan = await platform.replays.plan(ReplayRequest(source, "fail"))
        stages = {stage.stage: stage for stage in plan.stages}
        greet = stages["greet"]
        assert greet.source_version == before
        assert greet.version == platform.engine.registry.get("greet").version != before
        assert (greet.changed, greet.changed_on_disk) == (True, False)
        assert not stages["fail"].changed, "it runs again for the failed one, as it ran"
        module.write_text(GREETER)
        plan = await platform.replays.plan(ReplayRequest(source, "fail"))
        assert {stage.stage: stage.changed_on_disk for stage in plan.stages} == {
            "fail": False,
            "greet": True,
        }


async def test_a_replay_publishes_what_its_plan_says_and_nothing_else(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    request = ReplayRequest(source, "fail", where=("url!=https://example.com/2",))
    plan = await platform.replays.plan(request)
    result = await platform.replays.replay(request)
    ended = await platform.end(result.execution.execution_id)
    assert result.plan == plan
    stored = PlanSource(platform.engine.storage, ended.execution_id)
    items = [(item.origin_id, item.entry_stage, item.input_hash) async for item in stored.items(0)]
    assert len(items) == plan.messages == ended.message_count == 5
    entered = [
        (record.origin_id, stage, record.input_hash)
        for stage in ("fail", "mark")
        for record in await platform.engine.records(ended.execution_id, "first", stage)
    ]
    assert sorted(entered) == sorted(items)


async def test_a_line_of_the_plan_says_which_message_of_which_execution_goes_on(
    platform: Platform,
) -> None:
    """Those that a repair did are its own; a replay of a replay names the replay."""
    source = (await platform.run(PIPELINE)).execution_id
    request = ReplayRequest(source, only="failed", overrides={"first.fail.numbers": [99]})
    repair = (await platform.replays.replay(request)).execution.execution_id
    await platform.end(repair)

    async def lines(request: ReplayRequest) -> tuple[str, set[tuple[str, str]]]:
        execution = (await platform.replays.replay(request)).execution.execution_id
        await platform.end(execution)
        plan = PlanSource(platform.engine.storage, execution)
        found = [(i.source_execution, i.source_message) async for i in plan.items(0)]
        return execution, set(found)

    both, planned = await lines(ReplayRequest(source, "fail", overlays=(repair,)))
    assert planned == {
        (record.execution_id, record.message_id)
        for execution in (source, repair)
        for record in await platform.engine.records(execution, "first", "fail")
        if record.outcome == "stored"
    }
    assert len(planned) == 6
    _, again = await lines(ReplayRequest(both, "mark", rerun=True))
    marked = await platform.engine.records(both, "first", "mark")
    assert again == {(both, record.message_id) for record in marked}


async def test_missing_artefacts_leave_no_trace_of_a_long_plan(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of it were stored by the time that the missing one was met."""
    writer = functools.partial(PlanWriter, lines=2)
    monkeypatch.setattr(detached_replay_service, "PlanWriter", writer)
    source = (await platform.run(PIPELINE)).execution_id
    stored = [
        record.output_key
        for record in await platform.engine.records(source, "first", "fail")
        if record.output_key
    ]
    (tmp_path / "storage" / stored[-1]).unlink()
    with pytest.raises(ArtefactsMissingError) as caught:
        await platform.replays.replay(ReplayRequest(source, "fail"))
    assert caught.value.keys == stored[-1:]
    assert (await platform.executions.list()).total == 1
    assert [path.name for path in (tmp_path / "storage" / "executions").iterdir()] == [source]
    await platform.engine.lineage.flush()
    await platform.engine.queue.close()
    for database, table in (("queue.db", "scope"), ("lineage.db", "lineage_executions")):
        with sqlite3.connect(tmp_path / database) as connection:
            query = f"select distinct execution_id from {table}"
            assert [row[0] for row in connection.execute(query)] in ([], [source])


async def test_a_missing_list_of_children_is_told_like_an_artefact(
    platform: Platform, tmp_path: Path
) -> None:
    """A fan-out of many has its children listed in an object; without it nobody knows them."""
    source = (await platform.run(PIPELINE.replace("count: 6", "count: 300"))).execution_id
    (fan,) = await platform.engine.records(source, "first", "fan")
    (listed,) = fan.children_keys
    (tmp_path / "storage" / listed).unlink()
    for attempt in (platform.replays.plan, platform.replays.replay):
        with pytest.raises(ArtefactsMissingError) as caught:
            await attempt(ReplayRequest(source, "fan"))
        assert caught.value.keys == [listed]
    assert (await platform.executions.list()).total == 1
    result, replay = await platform.replay(source, "fail")
    assert (result.plan.messages, replay.message_count) == (300, 300)


@pytest.mark.parametrize("stage", ["fail", None])
async def test_a_message_of_which_every_file_is_gone_is_not_left_out_in_silence(
    platform: Platform, tmp_path: Path, stage: str | None
) -> None:
    """Its artefact and its record were deleted; lineage has seen them."""
    source = (await platform.run(PIPELINE)).execution_id
    records = await platform.engine.records(source, "first", "fail")
    outcome = "failed" if stage is None else "stored"
    lost = next(record for record in records if record.outcome == outcome)
    other = next(record for record in records if record is not lost)
    folder = tmp_path / "storage" / "executions" / source / "first" / "fail"
    for path in list(folder.glob(f"{lost.message_id}*")):
        path.unlink()
    await platform.engine.lineage.flush()
    only: Any = None if stage else "failed"
    request = ReplayRequest(source, stage, only=only)
    with pytest.raises(ArtefactsMissingError) as caught:
        await platform.replays.replay(request)
    assert caught.value.keys == [lost.key]
    assert (await platform.executions.list()).total == 1
    named = ReplayRequest(source, "fail", messages=(other.message_id,))
    assert (await platform.replays.plan(named)).messages == 1, "others can be named"
    if stage:
        failed = await platform.replays.plan(ReplayRequest(source, only="failed"))
        assert (failed.messages, failed.missing) == (1, ()), "the failed ones are all there"
    for path in list(folder.iterdir()):
        path.unlink()
    with pytest.raises(ArtefactsMissingError) as caught:
        await platform.replays.replay(request)
    gone = [record.key for record in records if stage or record.outcome == "failed"]
    assert sorted(caught.value.keys) == sorted(gone)


async def test_a_source_whose_objects_are_gone_says_so(platform: Platform, tmp_path: Path) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    shutil.rmtree(tmp_path / "storage" / "executions" / source)
    for request in (ReplayRequest(source, "fail"), ReplayRequest(source, only="failed")):
        with pytest.raises(ArtefactsMissingError):
            await platform.replays.replay(request)
    for request in (ReplayRequest(source, "fail"), ReplayRequest(source, only="failed")):
        with pytest.raises(ReplayEmptyError, match="no object of execution") as caught:
            await without_lineage(platform).replay(request)
        assert f"executions/{source}" in caught.value.hint
    assert (await platform.executions.list()).total == 1


async def test_a_replay_needs_no_lineage(tmp_path: Path) -> None:
    """The selection is made from the source's records; the index is gone."""
    async with platform_in(tmp_path) as platform:
        source = (await platform.run(PIPELINE)).execution_id
        expected = await platform.replays.plan(ReplayRequest(source, "fail", where=("error~made",)))
    lose_lineage(tmp_path)
    async with platform_in(tmp_path) as platform:
        assert await platform.engine.lineage_rows(source) == []
        request = ReplayRequest(source, "fail", where=("error~made",))
        assert await platform.replays.plan(request) == expected
        assert expected.messages == 1
        result, replay = await platform.replay(source, "fail")
        assert (result.counts.after_stage, result.counts.at_stage_failed) == (5, 1)
        assert replay.message_count == 6


async def test_a_running_source_gives_what_it_has_done_and_counts_the_rest(
    platform: Platform,
) -> None:
    text = PIPELINE.replace("{type: echo, stage: mark}", "{type: hang}")
    source = await platform.start(text)

    async def all_tried() -> bool:
        return len(await platform.engine.records(source.execution_id, "first", "fail")) == 6

    await eventually(all_tried)
    plan = await platform.replays.plan(ReplayRequest(source.execution_id, "fail"))
    assert (plan.counts.after_stage, plan.counts.at_stage_failed, plan.messages) == (5, 1, 6)
    with pytest.raises(ReplayEmptyError, match="5 messages still under way in the source"):
        await platform.replays.plan(ReplayRequest(source.execution_id, "hang"))
    assert (await platform.executions.get(source.execution_id)).status == "running"
    await platform.executions.cancel(source.execution_id, 0.0)
