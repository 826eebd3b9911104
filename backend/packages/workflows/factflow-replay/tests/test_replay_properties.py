"""What holds for replays of any pipeline: repairing comes to the same as never having failed, a replay
comes to the same as that part of a fresh run, and the source stays as it was, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.outcome_store import OutcomeStore
from factflow_execution.snapshot import snapshot_config
from factflow_replay.replay.errors import ReplayEmptyError, ReplayRefusedError
from factflow_replay.replay.models import ReplayRequest
from factflow_replay.replay.source_records import SourceRecords
from factflow_replay.replay.source_view import SourceView
from factflow_testing.platform import Platform, platform_in

NEVER = [9999]
Outcomes = dict[tuple[str, str], set[tuple[str, str, str | None]]]
FEW = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@st.composite
def stages(draw: st.DrawFn, number: int) -> list[dict[str, Any]]:
    """Up to three stages; those named `fault…` are the ones that fail."""
    found = []
    for place in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["echo", "fail", "fail", "keep", "increment", "batch", "fan"]))
        name = f"{'fault' if kind == 'fail' else kind}{number}{place}"
        stage: dict[str, Any] = {"type": kind, "stage": name}
        if kind == "fail":
            stage["config"] = {"numbers": sorted(draw(st.sets(st.integers(0, 5), min_size=1)))}
        elif kind == "keep":
            stage["config"] = {"below": draw(st.integers(1, 6))}
        elif kind == "fan":
            stage["config"] = {"count": draw(st.integers(1, 3)), "keyed": draw(st.booleans())}
        elif kind == "batch":
            stage |= {"type": "batch_double", "batch": {"size": 1, "wait_ms": 0}}
        if kind in {"echo", "fail", "increment"} and draw(st.booleans()):
            value = draw(st.integers(0, 4))
            stage["condition"] = {"field": "n", "operator": "gt", "value": value}
        found.append(stage)
    return found


@st.composite
def pipelines(draw: st.DrawFn) -> dict[str, Any]:
    """A fan, then one to three routes in a row; the last may be a loop with an exit."""
    count = draw(st.integers(1, 3))
    routes: dict[str, Any] = {}
    for number in range(count):
        chain = draw(stages(number))
        if number == 0:
            chain.insert(0, {"type": "fan", "config": {"count": draw(st.integers(1, 5))}})
        routes[f"r{number}"] = {
            "inbound": {"queue": f"q{number}"},
            "adapters": chain,
            "outbound": {"queue": f"q{number + 1}"},
        }
    last = routes[f"r{count - 1}"]
    if count > 1 and draw(st.booleans()):
        turn = {"type": "increment", "stage": "turn"}
        leave = {"type": "keep", "stage": "leave", "config": {"below": 4}}
        flat = [s for s in last["adapters"] if s["type"] not in {"fan", "batch_double"}]
        last |= {"adapters": [*flat, turn, leave], "outbound": {"queue": f"q{count - 1}"}}
    else:
        del last["outbound"]
    return {"version": "1.0", "routes": routes, "init_message": {"route": "r0"}}


def faults(pipeline: dict[str, Any]) -> dict[str, list[int]]:
    """Overrides that take every fault away."""
    return {
        f"{route}.{stage['stage']}.numbers": NEVER
        for route, block in pipeline["routes"].items()
        for stage in block["adapters"]
        if stage["type"] == "fail"
    }


def without_faults(pipeline: dict[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = json.loads(json.dumps(pipeline))
    for block in clean["routes"].values():
        for stage in block["adapters"]:
            if stage["type"] == "fail":
                stage["config"]["numbers"] = NEVER
    return clean


async def outcomes(platform: Platform, *executions: str) -> Outcomes:
    """What came of every message, by stage, as origin, outcome and hash; later executions laid over."""
    first = await platform.executions.get(executions[0])
    graph = PipelineGraph(snapshot_config(first.config_snapshot))
    store = OutcomeStore(platform.engine.storage)
    view = SourceView([SourceRecords(name, graph, store) for name in executions], graph)
    await view.open(set(graph.config.routes))
    return {
        (route, stage.stage_name): {
            (r.origin_id, r.outcome, r.output_hash)
            async for r in view.of_stage(route, stage.stage_name)
        }
        for route in graph.config.routes
        for stage in graph.stages(route)
    }


async def replayed(platform: Platform, *args: Any, **kwargs: Any) -> str | None:
    """Replay and wait; None when there was nothing to replay."""
    try:
        result = await platform.replays.replay(ReplayRequest(*args, **kwargs))
    except ReplayEmptyError:
        return None
    return (await platform.end(result.execution.execution_id)).execution_id


def on_a_platform(act: Callable[[Platform, Path], Awaitable[None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with platform_in(Path(folder)) as platform:
                await act(platform, Path(folder))

    asyncio.run(run())


@FEW
@given(pipelines())
def test_failing_and_repairing_comes_to_the_same_as_a_clean_run(pipeline: dict[str, Any]) -> None:
    async def act(platform: Platform, _folder: Path) -> None:
        source = (await platform.run(json.dumps(pipeline))).execution_id
        fresh = (await platform.run(json.dumps(without_faults(pipeline)))).execution_id
        expected = await outcomes(platform, fresh)
        repair = await replayed(platform, source, only="failed", overrides=faults(pipeline))
        laid = (repair,) if repair else ()
        assert await outcomes(platform, source, *laid) == expected
        for route, stage in expected:
            onward = await replayed(
                platform, source, f"{route}/{stage}", overlays=laid, overrides=faults(pipeline)
            )
            if onward is not None:
                await check_behind(platform, onward, expected, (route, stage))

    on_a_platform(act)


async def check_behind(
    platform: Platform, replay: str, expected: Outcomes, place: tuple[str, str]
) -> None:
    """Check that a replay did all that lies behind a stage, and nothing that no fresh run does."""
    found = await outcomes(platform, replay)
    order = list(expected)
    for other in order:
        assert found[other] <= expected[other], f"{other} of the replay from {place}"
    for behind in order[order.index(place) + 1 :]:
        assert found[behind] == expected[behind], f"{behind}, behind {place}"


@FEW
@given(pipelines(), st.booleans())
def test_a_replay_equals_that_part_of_a_fresh_run(pipeline: dict[str, Any], rerun: bool) -> None:
    async def act(platform: Platform, _folder: Path) -> None:
        source = (await platform.run(json.dumps(pipeline))).execution_id
        expected = await outcomes(platform, source)
        for place in expected:
            replay = await replayed(platform, source, "/".join(place), rerun=rerun)
            if replay is None:
                continue
            await check_behind(platform, replay, expected, place)
            if rerun:
                assert (await outcomes(platform, replay))[place] == expected[place]
            if expected[place]:
                again = await replayed(platform, source, "/".join(place), overlays=(replay,))
                if again is not None:
                    await check_behind(platform, again, expected, place)

    on_a_platform(act)


def manifest(folder: Path, execution: str) -> dict[str, str]:
    root = folder / "storage" / "executions" / execution
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def lineage_rows(folder: Path, execution: str) -> list[Any]:
    """All tables of the lineage database, as far as they speak of an execution."""
    database = sqlite3.connect(folder / "lineage.db")
    tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
    rows = []
    for (table,) in sorted(tables):
        columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
        if "execution_id" in columns:
            query = f"select * from {table} where execution_id = ? order by 1, 2"
            rows.append((table, database.execute(query, (execution,)).fetchall()))
    database.close()
    return rows


SOURCE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 9}}
      - {type: fail, config: {numbers: [3, 4]}}
      - {type: keep, config: {below: 7}}
      - {type: echo, condition: {field: n, operator: gt, value: 2}}
    outbound: middle
  second:
    inbound: {queue: middle}
    adapters:
      - {type: fan, stage: parts, config: {count: 2, keyed: false}}
      - {type: fail, stage: picky, config: {numbers: [1]}}
init_message: {route: first}
"""


async def test_twenty_replays_leave_the_source_as_it_was(
    platform: Platform, tmp_path: Path
) -> None:
    source = await platform.run(SOURCE)
    await platform.engine.lineage.flush()
    objects, rows = (
        manifest(tmp_path, source.execution_id),
        lineage_rows(tmp_path, source.execution_id),
    )
    assert len(objects) > 50
    assert any(found for _, found in rows)
    chance = random.Random(7)
    done: list[str] = []
    while len(done) < 20:
        replay = None
        request: dict[str, Any] = {
            "from_stage": chance.choice(["fan", "fail", "keep", "echo", "parts", "picky"]),
            "rerun": chance.random() < 0.4,
            "only": "failed" if chance.random() < 0.2 else None,
            "to_route": "second" if chance.random() < 0.2 else None,
            "sample": chance.choice([None, None, 3]),
            "overlays": tuple(chance.sample(done, min(len(done), chance.randint(0, 2)))),
            "overrides": chance.choice([{}, {"first.fail.numbers": NEVER}, {"first.fan.count": 5}]),
        }
        with contextlib.suppress(
            ReplayRefusedError
        ):  # what chance put together may contradict itself
            replay = await replayed(platform, source.execution_id, **request)
        if replay is not None:
            done.append(replay)
    await platform.engine.lineage.flush()
    assert manifest(tmp_path, source.execution_id) == objects
    assert lineage_rows(tmp_path, source.execution_id) == rows
    assert await platform.executions.get(source.execution_id) == source
