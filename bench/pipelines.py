"""Factflow on the same work: adapters around the stage functions, run by the real engine."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from work import payload, stage_a, stage_b, stage_c

from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)
from factflow_testing.engine import engine_in


class FanConfig(AdapterConfigModel):
    """How many children, of how many bytes."""

    count: int
    size: int


@register_adapter_type("bench_fan", config=FanConfig)
class Fan:
    """One message to many."""

    def __init__(self, config: FanConfig) -> None:
        self._items = [Emitted(payload(n, config.size), key=str(n)) for n in range(config.count)]

    async def process(self, _context: PipelineContext) -> AdapterResult:
        """Emit everything."""
        return AdapterResult(emitted=self._items)


def _stage(name: str, work: Any) -> type[Any]:
    @register_adapter_type(name)
    class Stage:
        """Calls one stage function."""

        def __init__(self, config: AdapterConfigModel) -> None:
            del config

        async def process(self, context: PipelineContext) -> AdapterResult:
            return AdapterResult(work(context.payload))

    return Stage


BenchA, BenchB, BenchC = (
    _stage("bench_a", stage_a),
    _stage("bench_b", stage_b),
    _stage("bench_c", stage_c),
)

ONE_ROUTE = """
version: "1.0"
routes:
  work:
    inbound: {{queue: start, concurrency: 16, prefetch: 64}}
    adapters:
      - {{type: bench_fan, config: {{count: {count}, size: {size}}}}}
      - {{type: bench_a}}
      - {{type: bench_b}}
      - {{type: bench_c}}
init_message: {{route: work}}
"""

TWO_ROUTES = """
version: "1.0"
routes:
  first:
    inbound: {{queue: start, concurrency: 16, prefetch: 64}}
    adapters:
      - {{type: bench_fan, config: {{count: {count}, size: {size}}}}}
      - {{type: bench_a}}
    outbound: between
  second:
    inbound: {{queue: between, concurrency: 16, prefetch: 64}}
    adapters:
      - {{type: bench_b}}
      - {{type: bench_c}}
init_message: {{route: first}}
"""


def one_route(count: int, size: int, folder: Path) -> float:
    """Return the seconds W1 takes: fan-out and three stages in one route."""
    return asyncio.run(_run(ONE_ROUTE, count, size, folder))


def two_routes(count: int, size: int, folder: Path) -> float:
    """Return the seconds W1p takes: the same with a queue hop in the middle."""
    return asyncio.run(_run(TWO_ROUTES, count, size, folder))


async def _run(template: str, count: int, size: int, folder: Path) -> float:
    for number in range(count):
        payload(number, size)  # made before the clock starts, as for the limits
    async with engine_in(folder, modules=(__file__,), writer="process") as engine:
        start = time.perf_counter()
        _, final = await engine.run(template.format(count=count, size=size))
        elapsed = time.perf_counter() - start
        if final.status != "completed":
            raise SystemExit(f"the benchmark's pipeline ended {final.status}: {final.error}")
        return elapsed
