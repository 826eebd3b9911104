"""W2: what it costs to run again only what failed, or everything behind a stage."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from cost import Meter
from engine_runs import end_of, run, warm_server
from pipelines import fan, one_route, stage
from stage_adapters import CALLS

from factflow_replay.replay.models import ReplayRequest
from factflow_server.container import Container

FAIL_EVERY = 20
"""One message in so many fails at B: 5 %."""


def replay_runs(count: int, size: int, folder: Path, *, swapped: bool) -> dict[str, Any]:
    """Return seconds and processor seconds of a run, a replay of its failures, a replay of everything
    behind A, and a fresh execution of just B and C (before that one when `swapped`); and what was called
    in the replays."""
    return asyncio.run(_measure(count, size, folder, swapped=swapped))


async def _measure(count: int, size: int, folder: Path, *, swapped: bool) -> dict[str, Any]:
    def pipeline(messages: int) -> str:
        failing = stage("b", fail_every=FAIL_EVERY)
        return one_route(fan(messages, size), stage("a"), failing, stage("c"), tolerance=1.0)

    meter = Meter()
    result: dict[str, Any] = {"failed": -(-count // FAIL_EVERY)}
    async with warm_server(folder, pipeline) as (container, _):
        meter.start()
        first = await run(container, pipeline(count))
        result["first"] = _cost(meter)
        only_failed = ReplayRequest(first.execution_id, only="failed")
        result["only_failed"], result["only_failed_calls"] = await _replay(container, only_failed)
        behind_a = ReplayRequest(first.execution_id, "flow/bench_a")
        fresh = one_route(fan(count, size, through_a=True), stage("b"), stage("c"))
        for fresh_now in (swapped, not swapped):
            if fresh_now:
                meter.start()
                await run(container, fresh)
                result["fresh"] = _cost(meter)
            else:
                result["whole"], result["whole_calls"] = await _replay(container, behind_a)
    return result


async def _replay(
    container: Container, request: ReplayRequest
) -> tuple[list[float], dict[str, int]]:
    """Return what a replay cost, from the request to its end, and how often it called which stage."""
    CALLS.clear()
    meter = Meter()
    meter.start()
    started = await container.replay.replay(request)
    await end_of(container, started.execution)
    return _cost(meter), dict(CALLS)


def _cost(meter: Meter) -> list[float]:
    cost = meter.stop()
    return [cost.seconds, cost.cpu]
