"""A route takes nothing while too much waits downstream of it, and nothing ever waits in a circle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.execution_spec import HeldBack, RouteRuntime
from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.waiting import eventually

COUNT = 60


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path) as opened:
        yield opened


def chain(door: Path, *, max_queued: int = 5) -> str:
    """`seed` fans out within itself and feeds `up`, which feeds the bounded `down`."""
    return f"""
version: "1.0"
routes:
  seed:
    inbound: {{queue: seed}}
    adapters: [{{type: fan, config: {{count: {COUNT}}}}}]
    outbound: up
  up:
    inbound: {{queue: up, concurrency: 2, prefetch: 2}}
    adapters: [{{type: echo}}]
    outbound: down
  down:
    inbound: {{queue: down, concurrency: 1, prefetch: 1}}
    adapters: [{{type: wait_for, stage: work, config: {{path: "{door}"}}}}]
    backpressure: {{max_queued: {max_queued}}}
init_message: {{route: seed}}
"""


def route(engine: EngineUnderTest, execution_id: str, name: str) -> RouteRuntime:
    return next(r for r in engine.manager.runtime(execution_id) if r.route_id == name)


async def test_upstream_waits_while_downstream_is_crowded_and_goes_on_by_itself(
    engine: EngineUnderTest, tmp_path: Path
) -> None:
    door = tmp_path / "door"
    execution = await engine.start(chain(door))

    def held_at_rest() -> bool:
        up = route(engine, execution, "up")
        return up.held_back is not None and up.in_flight == 0

    await eventually(held_at_rest)
    up, down = (route(engine, execution, name) for name in ("up", "down"))
    assert up.held_back == HeldBack("down", down.ready, 5)
    assert 5 < down.ready <= 5 + 2, "what was in hand is all that may come on top"
    assert up.ready == COUNT - down.ready - 1
    assert route(engine, execution, "seed").held_back == up.held_back
    assert down.held_back is None
    door.touch()
    assert (await engine.end(execution)).status == "completed"
    assert len(await engine.outputs(execution, "down", "work")) == COUNT


async def test_a_held_route_goes_on_at_half_the_mark(
    engine: EngineUnderTest, tmp_path: Path
) -> None:
    """Paused at its mark, the bounded route still holds those before it; resuming it frees them."""
    (tmp_path / "door").touch()
    engine.manager.pause("down")
    execution = await engine.start(chain(tmp_path / "door", max_queued=10))
    await eventually(lambda: route(engine, execution, "up").held_back)
    engine.manager.resume("down")
    assert (await engine.end(execution)).status == "completed"


async def test_a_held_execution_can_be_cancelled(engine: EngineUnderTest, tmp_path: Path) -> None:
    execution = await engine.start(chain(tmp_path / "door"))
    await eventually(lambda: route(engine, execution, "up").held_back)
    await engine.manager.cancel(execution, 0.0)
    assert (await engine.end(execution)).status == "cancelled"


CYCLE = """
version: "1.0"
backpressure: {max_queued: 1}
routes:
  a:
    inbound: {queue: a, concurrency: 1, prefetch: 1}
    adapters:
      - {type: fan, config: {count: 20}, condition: {field: start, operator: exists}}
      - {type: increment}
    outbound: b
  b:
    inbound: {queue: b, concurrency: 1, prefetch: 1}
    adapters: [{type: keep, config: {below: 22}}]
    outbound: a
init_message: {route: a, payload: {start: true}}
"""


async def test_routes_of_a_cycle_never_hold_each_other(engine: EngineUnderTest) -> None:
    """All bounded to one message, at concurrency 1, with a fan-out into the route's own queue."""
    _, final = await engine.run(CYCLE, {"start": True})
    assert (final.status, final.progress.failed) == ("completed", 0)


LETTERS = """
version: "1.0"
routes:
  up:
    inbound: {queue: up}
    adapters: [{type: echo}]
    outbound: around
    error_handling: {dead_letter_queue: dead}
  around:
    inbound: {queue: around}
    adapters: [{type: keep}]
    outbound: back
  back:
    inbound: {queue: back}
    adapters: [{type: keep}]
    outbound: around
  letters:
    inbound: {queue: dead}
    adapters: [{type: echo}]
init_message: {route: up}
"""


def test_what_feeds_a_route_counts_dead_letters_and_leaves_out_its_own_cycle(
    engine: EngineUnderTest,
) -> None:
    graph = PipelineGraph(PipelineConfigLoader(engine.registry).load(LETTERS, "test.yaml"))
    fed = {name: set(graph.feeders(name)) for name in graph.config.routes}
    assert fed == {"up": set(), "around": {"up"}, "back": {"up"}, "letters": {"up"}}
