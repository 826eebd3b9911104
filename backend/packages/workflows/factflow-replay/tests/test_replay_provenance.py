"""What a replay keeps of where it came from: on the execution, on its lineage, and for its adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform, platform_in

PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 6}}
      - {type: fail, config: {numbers: [4]}}
      - {type: echo, stage: mark}
    outbound: middle
  second:
    inbound: {queue: middle}
    adapters:
      - {type: echo, stage: last}
init_message: {route: first}
"""


async def replayed(platform: Platform, *args: Any, **kwargs: Any) -> str:
    result = await platform.replays.replay(ReplayRequest(*args, **kwargs))
    return (await platform.end(result.execution.execution_id)).execution_id


async def test_everything_asked_and_all_that_came_of_it_is_recorded(platform: Platform) -> None:
    source = await platform.run(PIPELINE)
    name = source.execution_id
    repair = await replayed(platform, name, only="failed", overrides={"first.fail.numbers": [99]})
    config = (await platform.configs.create(PIPELINE.replace("count: 6", "count: 7"))).config
    records = await platform.engine.records(name, "first", "fail")
    named = tuple(record.message_id for record in records if record.outcome == "stored")
    asked: dict[str, Any] = {
        "rerun": True,
        "messages": named,
        "where": ("url~/", "status=completed"),
        "sample": 2,
        "config_id": config.id,
        "overrides": {"first.mark.fields": {"by": "hand"}},
        "overlays": (repair,),
    }
    replay = await platform.executions.get(await replayed(platform, name, "mark", **asked))
    assert (replay.source, replay.parent_execution_id) == ("replay", name)
    kept = replay.replay_source
    assert kept is not None
    assert {key: kept[key] for key in ("from_execution_id", "from_stage", "to_route", "to_queue")} == {
        "from_execution_id": name, "from_stage": "first/mark", "to_route": None, "to_queue": "start",
    }  # fmt: skip
    assert (kept["rerun"], kept["sample"], kept["config_id"]) == (True, 2, config.id)
    assert (kept["messages"], kept["messages_count"]) == (list(named), 5)
    assert (kept["where"], kept["set"]) == (list(asked["where"]), asked["overrides"])
    assert kept["with"] == [repair]
    assert kept["config_hash"] == source.config_hash
    assert kept["new_config_hash"] == replay.config_hash != config.config_hash != source.config_hash
    selected = {row: count for row, count in kept["selected"].items() if count}
    assert selected == {"run_again": 2, "not_matched": 1, "not_sampled": 3}
    assert kept["planned_messages"] == 2
    assert kept["entries"] == [{"route": "first", "stage": "mark", "queue": "start", "messages": 2}]
    plan = await platform.replays.plan(ReplayRequest(name, "mark", **asked))
    assert kept["plan_hash"] == plan.plan_hash


async def test_a_message_is_followed_through_replays_to_its_source(platform: Platform) -> None:
    """Each stage ran in another execution; the chain leads from the last one to the first message."""
    source = (await platform.run(PIPELINE)).execution_id
    once = await replayed(platform, source, "fail")
    twice = await replayed(platform, once, "mark")
    (row, *_) = [r for r in await platform.engine.lineage_rows(twice) if r.stage == "last"]
    own = await platform.engine.rows.chain(row.id)
    assert own.ancestors == ()
    whole = await platform.engine.rows.chain(row.id, across_replays=True)
    assert [(entry.execution_id, entry.stage) for entry in whole.ancestors] == [
        (source, "fan"),
        (source, "fail"),
        (once, "mark"),
    ]


async def test_every_root_of_a_replay_says_what_it_continues_from(platform: Platform) -> None:
    source = (await platform.run(PIPELINE)).execution_id
    known = {row.id: row.stage for row in await platform.engine.lineage_rows(source)}
    for stage, rerun, before in [
        ("fail", False, "fail"),
        ("mark", True, "fail"),
        ("fan", False, "fan"),
    ]:
        replay = await replayed(platform, source, stage, rerun=rerun)
        rows = await platform.engine.lineage_rows(replay)
        roots = [row for row in rows if row.parent_id is None]
        assert roots
        assert {known[row.replayed_from or ""] for row in roots} == {before}
        assert all(row.replayed_from is None for row in rows if row.parent_id is not None)


async def test_adapters_are_told_that_they_run_in_a_replay(tmp_path: Path) -> None:
    """So that one with effects outside can take care."""
    adapters = str(Path(__file__).parent / "noting_adapters.py")
    text = PIPELINE.replace("{type: echo, stage: last}", "{type: note}")
    async with platform_in(tmp_path, modules=(adapters,)) as platform:
        source = (await platform.run(text)).execution_id
        replay = await replayed(platform, source, "mark")
        for execution, expected in ((source, False), (replay, True)):
            outputs = await platform.engine.outputs(execution, "second", "note")
            assert {output["is_replay"] for output in outputs} == {expected}
