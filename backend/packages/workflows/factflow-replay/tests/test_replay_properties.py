"""What holds for replays of any pipeline: repairing comes to the same as never having failed, a replay
comes to the same as that part of a fresh run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.outcome_store import OutcomeStore
from factflow_execution.errors import ExecutionStateError
from factflow_execution.snapshot import snapshot_config
from factflow_replay.replay.errors import ReplayEmptyError
from factflow_replay.replay.models import ReplayRequest
from factflow_replay.replay.source_records import SourceRecords
from factflow_replay.replay.source_view import SourceView
from factflow_testing.platform import Platform, platform_in
from factflow_testing.waiting import eventually

NEVER = [9999]
GRAVES = "graves"
FAULTY = {"fail": "numbers", "batch_double": "poison"}
"""The setting that makes a type fail."""
Outcomes = dict[tuple[str, str], set[tuple[str, str, str | None]]]
QUIET = [HealthCheck.too_slow]
FEW = settings(max_examples=6, deadline=None, suppress_health_check=QUIET, derandomize=True)
MANY = settings(max_examples=80, deadline=None, suppress_health_check=QUIET, print_blob=True)


@st.composite
def stages(draw: st.DrawFn, number: int) -> list[dict[str, Any]]:
    """Up to three stages; those named `fault…` and some batches are the ones that fail."""
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
            poison = sorted(draw(st.sets(st.integers(0, 5), max_size=1)))
            stage |= {"type": "batch_double", "config": {"tell": False, "poison": poison}}
            stage["batch"] = {"size": draw(st.integers(1, 4)), "wait_ms": 3}
        if draw(st.integers(0, 3)) == 0:
            value = draw(st.integers(0, 4))
            stage["condition"] = {"field": "n", "operator": "gt", "value": value}
        found.append(stage)
    return found


@st.composite
def pipelines(draw: st.DrawFn) -> dict[str, Any]:
    """A fan, then one to three routes in a row; the last one or two may be a loop with an exit, and a
    route for what failed in some of them may stand beside them."""
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
        back_to = draw(st.integers(max(1, count - 2), count - 1))
        for number in range(back_to, count):
            block = routes[f"r{number}"]
            block["adapters"] = [s for s in block["adapters"] if s["type"] != "fan"] or [
                {"type": "echo", "stage": f"echo{number}"}
            ]
        turn = {"type": "increment", "stage": "turn"}
        leave = {"type": "keep", "stage": "leave", "config": {"below": 4}}
        last["adapters"] += [turn, leave]
        last["outbound"] = {"queue": f"q{back_to}"}
    else:
        del last["outbound"]
    if draw(st.booleans()):
        for block in draw(st.lists(st.sampled_from(list(routes.values())), min_size=1)):
            block["error_handling"] = {"dead_letter_queue": GRAVES}
        routes[GRAVES] = {"inbound": {"queue": GRAVES}, "adapters": draw(gravediggers())}
    return {"version": "1.0", "routes": routes, "init_message": {"route": "r0"}}


@st.composite
def gravediggers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What is done with dead letters: noted, and for some that fails too."""
    chain: list[dict[str, Any]] = [{"type": "echo", "stage": "note"}]
    if draw(st.booleans()):
        numbers = sorted(draw(st.sets(st.integers(0, 5), min_size=1)))
        chain.append({"type": "fail", "stage": "bury", "config": {"numbers": numbers}})
    return chain


def faults(pipeline: dict[str, Any]) -> dict[str, list[int]]:
    """Overrides that take every fault away."""
    return {
        f"{route}.{stage['stage']}.{FAULTY[stage['type']]}": NEVER
        for route, block in pipeline["routes"].items()
        for stage in block["adapters"]
        if stage["type"] in FAULTY
    }


def without_faults(pipeline: dict[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = json.loads(json.dumps(pipeline))
    for block in clean["routes"].values():
        for stage in block["adapters"]:
            if stage["type"] in FAULTY:
                stage["config"][FAULTY[stage["type"]]] = NEVER
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


async def letters(platform: Platform, execution: str, first: tuple[str, str]) -> set[str]:
    """The origins of the dead letters that a stage sent, and those behind it in the YAML."""
    snapshot = snapshot_config((await platform.executions.get(execution)).config_snapshot)
    graph = PipelineGraph(snapshot)
    records = SourceRecords(execution, graph, OutcomeStore(platform.engine.storage))
    order = [
        (route, stage.stage_name) for route in snapshot.routes for stage in graph.stages(route)
    ]
    return {
        child.message.origin_id
        for place in order[order.index(first) :]
        async for record in records.of_stage(*place)
        if record.outcome == "failed"
        async for child in records.children(record)
    }


async def check_behind(
    platform: Platform,
    replay: str,
    expected: Outcomes,
    place: tuple[str, str],
    dead: set[str] | None = None,
) -> None:
    """Check that a replay did all that lies behind a stage, and nothing that no fresh run does.

    Beside its own way lie only the dead letters: at least those in `dead` are to come again.
    """
    found = await outcomes(platform, replay)
    order = list(expected)
    for other in order:
        assert found[other] <= expected[other], f"{other} of the replay from {place}"
    for behind in order[order.index(place) + 1 :]:
        if behind[0] == place[0] or behind[0] != GRAVES or dead is None:
            assert found[behind] == expected[behind], f"{behind}, behind {place}"
        else:
            again = {outcome for outcome in expected[behind] if outcome[0] in dead}
            assert again <= found[behind], f"{behind}, the dead letters behind {place}"


def on_a_platform(act: Callable[[Platform], Awaitable[None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with platform_in(Path(folder)) as platform:
                await act(platform)

    asyncio.run(run())


def check_repair(pipeline: dict[str, Any]) -> None:
    """Run with faults, repair, and go on from every stage with both."""

    async def act(platform: Platform) -> None:
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


def check_parts(pipeline: dict[str, Any], rerun: bool) -> None:
    """Run, and replay from every stage, once and once more with that replay laid over."""

    async def act(platform: Platform) -> None:
        source = (await platform.run(json.dumps(pipeline))).execution_id
        expected = await outcomes(platform, source)
        for place in expected:
            replay = await replayed(platform, source, "/".join(place), rerun=rerun)
            if replay is None:
                continue
            dead = await letters(platform, source, place)
            await check_behind(platform, replay, expected, place, dead)
            if rerun:
                assert (await outcomes(platform, replay))[place] == expected[place]
            if expected[place]:
                again = await replayed(platform, source, "/".join(place), overlays=(replay,))
                if again is not None:
                    await check_behind(platform, again, expected, place, dead)

    on_a_platform(act)


def check_cut_off(pipeline: dict[str, Any], stored: int) -> None:
    """Cancel a run once so many outcomes are stored, and continue from its first stage."""

    async def act(platform: Platform) -> None:
        text = json.dumps(pipeline)
        expected = await outcomes(platform, (await platform.run(text)).execution_id)
        source = (await platform.start(text)).execution_id
        folder = platform.engine.storage.root / "executions" / source

        async def is_time() -> bool:
            ended = (await platform.executions.get(source)).ended
            return ended or len(list(folder.rglob("*/*.meta.json"))) >= stored

        await eventually(is_time)
        with contextlib.suppress(ExecutionStateError):  # it may have ended just now
            await platform.executions.cancel(source, 0.0)
        for place in expected:
            replay = await replayed(platform, source, "/".join(place))
            if replay is not None and place == next(iter(expected)):
                await check_behind(platform, replay, expected, place)
            elif replay is not None:
                found = await outcomes(platform, replay)
                assert all(found[other] <= expected[other] for other in expected)

    on_a_platform(act)


@FEW
@given(pipelines())
def test_failing_and_repairing_comes_to_the_same_as_a_clean_run(pipeline: dict[str, Any]) -> None:
    check_repair(pipeline)


@pytest.mark.long
@MANY
@given(pipelines())
def test_repairing_many_pipelines(pipeline: dict[str, Any]) -> None:
    check_repair(pipeline)


@FEW
@given(pipelines(), st.booleans())
def test_a_replay_equals_that_part_of_a_fresh_run(pipeline: dict[str, Any], rerun: bool) -> None:
    check_parts(pipeline, rerun)


@pytest.mark.long
@MANY
@given(pipelines(), st.booleans())
def test_replaying_parts_of_many_pipelines(pipeline: dict[str, Any], rerun: bool) -> None:
    check_parts(pipeline, rerun)


@FEW
@given(pipelines(), st.integers(0, 8))
def test_what_was_cut_off_goes_on_from_where_it_stood(
    pipeline: dict[str, Any], stored: int
) -> None:
    check_cut_off(pipeline, stored)


@pytest.mark.long
@MANY
@given(pipelines(), st.integers(0, 8))
def test_continuing_many_pipelines_that_were_cut_off(pipeline: dict[str, Any], stored: int) -> None:
    check_cut_off(pipeline, stored)
