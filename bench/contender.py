"""One run of one contender, in a process of its own: `contender.py NAME JSON` prints what it cost.

A process for each run: what one leaves in memory, caches and the garbage collector is in no other's way.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import limits
from cost import Cost

CONCURRENCY = 50
WAIT = 0.02
"""Seconds that stage B of W4 waits."""


def l1(count: int, size: int, folder: Path) -> Cost:
    return limits.bare_loop(count, size, folder)


def l3(count: int, size: int, folder: Path) -> Cost:
    return limits.durable_loop(count, size, folder)


def l4(count: int, size: int, _folder: Path) -> Cost:
    return limits.waiting_loop(count, size, CONCURRENCY, WAIT)


def w1(count: int, size: int, folder: Path) -> Cost:
    """Fan-out and three stages in one route."""
    from engine_runs import run_pipeline
    from pipelines import fan, one_route, stage

    def pipeline(messages: int) -> str:
        return one_route(fan(messages, size), stage("a"), stage("b"), stage("c"))

    return run_pipeline(pipeline, count, folder)


def w1_forgetful(count: int, size: int, folder: Path) -> Cost:
    """The same, and nobody keeps the lineage rows."""
    from engine_runs import forget_lineage

    forget_lineage()
    return w1(count, size, folder)


def w1p(count: int, size: int, folder: Path) -> Cost:
    """The same with a queue hop between A and B."""
    from engine_runs import run_pipeline
    from pipelines import fan, stage, two_routes

    def pipeline(messages: int) -> str:
        return two_routes([fan(messages, size), stage("a")], [stage("b"), stage("c")])

    return run_pipeline(pipeline, count, folder)


def w4(count: int, size: int, folder: Path) -> Cost:
    """W1 with a stage B that waits."""
    from engine_runs import run_pipeline
    from pipelines import fan, one_route, stage

    def pipeline(messages: int) -> str:
        stages = (fan(messages, size), stage("a"), stage("b", wait=WAIT), stage("c"))
        return one_route(*stages, concurrency=CONCURRENCY)

    return run_pipeline(pipeline, count, folder)


def w2(count: int, size: int, folder: Path, *, swapped: bool = False) -> dict[str, Any]:
    """A run in which some of B fail, then replays of it."""
    from replays import replay_runs

    return replay_runs(count, size, folder, swapped=swapped)


def w2_swapped(count: int, size: int, folder: Path) -> dict[str, Any]:
    """The same with its last two parts the other way round."""
    return w2(count, size, folder, swapped=True)


CONTENDERS: dict[str, Callable[[int, int, Path], Cost | dict[str, Any]]] = {
    "L1": l1,
    "L3": l3,
    "L4": l4,
    "W1": w1,
    "W1n": w1_forgetful,
    "W1p": w1p,
    "W2": w2,
    "W2s": w2_swapped,
    "W4": w4,
}


def main() -> None:
    """Run it and print the JSON."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    result = CONTENDERS[name](options["count"], options["size"], Path(options["folder"]))
    print(json.dumps(asdict(result) if isinstance(result, Cost) else result))


if __name__ == "__main__":
    main()
