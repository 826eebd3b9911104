"""The workloads as pipelines."""

from __future__ import annotations

from typing import Any

import yaml

Stage = dict[str, Any]


def fan(count: int, size: int, **more: Any) -> Stage:
    """Return the stage that makes `count` messages of one."""
    return {"type": "bench_fan", "config": {"count": count, "size": size, **more}}


def stage(name: str, **config: Any) -> Stage:
    """Return stage a, b or c."""
    return {"type": f"bench_{name}", "config": config}


def one_route(*stages: Stage, concurrency: int = 16, tolerance: float = 0.0) -> str:
    """Return a pipeline of one route that begins with one message."""
    return _pipeline({"flow": _route("start", list(stages), concurrency)}, "flow", tolerance)


def two_routes(first: list[Stage], second: list[Stage], concurrency: int = 16) -> str:
    """Return a pipeline with a queue hop between two routes."""
    routes = {
        "first": {**_route("start", first, concurrency), "outbound": "between"},
        "second": _route("between", second, concurrency),
    }
    return _pipeline(routes, "first", 0.0)


def _route(queue: str, stages: list[Stage], concurrency: int) -> dict[str, Any]:
    inbound = {"queue": queue, "concurrency": concurrency, "prefetch": 4 * concurrency}
    return {"inbound": inbound, "adapters": stages}


def _pipeline(routes: dict[str, Any], first: str, tolerance: float) -> str:
    return yaml.safe_dump(
        {
            "version": "1.0",
            "name": "bench",
            "init_message": {"route": first, "payload": {}},
            "error_handling": {"failure_tolerance": tolerance},
            "routes": routes,
        }
    )
