"""How long W1 keeps a server from answering."""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path

from pipelines import fan, one_route, stage
from rounds import Workplace, say
from servers import Server
from table import Row

SIZE = 4096
PAUSE = 0.02
"""Seconds between two requests."""


def latency_rows(place: Workplace, count: int, rounds: int) -> list[Row]:
    """Run W1 in a server, watch its event loop from within, and ask for the list of executions."""
    stalls: list[float] = []
    answers: list[float] = []
    for number in range(rounds):
        say(f"latency {number + 1} of {rounds}: {count} messages")
        stall, times = _watched_run(place.folder("latency"), count)
        stalls.append(stall * 1000)
        answers.append(p95(times) * 1000)
        say(f"  longest stall {stalls[-1]:.0f} ms, GET p95 {answers[-1]:.0f} ms of {len(times)}")
    return [
        Row("E1", "longest stall of the loop during W1", tuple(stalls), "ms", "", "≤ 50 ms"),
        Row("E2", "GET /executions during W1, p95", tuple(answers), "ms", "", "≤ 50 ms"),
    ]


def _watched_run(folder: Path, count: int) -> tuple[float, list[float]]:
    watch = folder / "stall"
    stages = (stage("a"), stage("b"), stage("c"))
    with Server(folder) as server:
        server.finish(server.begin(one_route(fan(10, SIZE), *stages)))
        times: list[float] = []
        ended = threading.Event()
        asking = threading.Thread(target=_ask, args=(server, ended, times))
        execution_id = server.begin(one_route(fan(count, SIZE, watch=str(watch)), *stages))
        asking.start()
        try:
            server.finish(execution_id)
        finally:
            ended.set()
            asking.join()
        server.stop()
    return float(watch.read_text()), times


def _ask(server: Server, ended: threading.Event, times: list[float]) -> None:
    while not ended.is_set():
        begun = time.perf_counter()
        server.get("/executions")
        times.append(time.perf_counter() - begun)
        ended.wait(PAUSE)


def p95(values: list[float]) -> float:
    """Return the value that 95 % of them do not exceed."""
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]
