"""One execution of very many messages: memory, pace, its listing, and its replay."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cost import tree_memory
from pipelines import fan, one_route, stage
from rounds import Workplace, say
from servers import Journal, Server
from storage_kinds import storage_uri
from table import Row

from factflow_infra.storage.factory import create_storage_provider

SIZE = 256
MEGABYTE = 1_000_000
LOOK = 0.1
"""Seconds between two looks at the memory."""
FIRST_KEYS = 5
"""How often the first key is asked for."""


class Peak:
    """The most memory a server and its writer had while it was watched, in bytes."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.bytes = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch until the block ends."""
        self.bytes = 0
        ended = threading.Event()
        watching = threading.Thread(target=self._watch, args=(ended,))
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK):
            self.bytes = max(self.bytes, tree_memory(self._pid))


def message_rows(place: Workplace, count: int, *, packed: bool) -> list[Row]:
    """Run an execution of `count` small messages through two stages, list it, replay it."""
    kind = "packed" if packed else "plain files"
    say(f"one execution of {count} messages, {kind}")
    folder = place.folder("messages")
    journal = Journal(folder / "journal")
    noted = {"journal": str(journal.path)}
    with Server(folder, packed=packed) as server:
        server.api.timeout = None
        server.finish(server.begin(_pipeline(10, {})))
        idle, peak = tree_memory(server.pid), Peak(server.pid)
        begun = time.monotonic()
        with peak.watched():
            execution_id = server.begin(_pipeline(count, noted))
            server.finish(execution_id)
        seconds, most = time.monotonic() - begun, peak.bytes
        times = journal.times("c")
        say(f"  {seconds:.0f} s, {(most - idle) / MEGABYTE:.0f} MB above idle")
        rows = _replay_rows(server, execution_id, peak, idle, len(times) / seconds)
        server.stop()
    first = asyncio.run(
        _first_keys(folder, f"executions/{execution_id}/flow/bench_a", packed=packed)
    )
    say(f"  first key of the stage's listing after {max(first):.1f} ms")
    above = (most - idle) / MEGABYTE
    return [
        Row(
            "M1", f"memory above idle, {count} messages, {kind}", (above,), "MB", target="≤ 200 MB"
        ),
        Row("M2", "pace of the last tenth", (_last_tenth(times),), "", "first tenth", "≥ 0.9"),
        Row("M3", "messages a second, fan-out included", (count / seconds,), "/s"),
        *rows,
        Row("M7", f"first key of a listing of {count}", first, "ms", target="≤ 200 ms"),
    ]


def _pipeline(count: int, noted: dict[str, str]) -> str:
    return one_route(fan(count, SIZE, lazily=True), stage("a"), stage("c", **noted))


def _last_tenth(times: list[float]) -> float:
    tenth = max(1, len(times) // 10)
    first, last = times[tenth] - times[0], times[-1] - times[-1 - tenth]
    return first / last


def _replay_rows(
    server: Server, execution_id: str, peak: Peak, idle: int, own_pace: float
) -> list[Row]:
    behind_a: dict[str, Any] = {"from_stage": "flow/bench_a"}
    begun = time.monotonic()
    with peak.watched():
        plan = server.post(f"/executions/{execution_id}/replay", {**behind_a, "dry_run": True})
    planning, planning_memory = time.monotonic() - begun, peak.bytes
    messages = plan["objects_found"]
    say(f"  planning a replay of {messages}: {planning:.1f} s")
    begun = time.monotonic()
    with peak.watched():
        answer = server.post(f"/executions/{execution_id}/replay", behind_a)
        server.finish(answer["execution_id"])
    replaying = time.monotonic() - begun
    say(f"  replaying them: {replaying:.1f} s")
    most = max(planning_memory, peak.bytes)
    return [
        Row(
            "M4",
            f"planning a replay of {messages}",
            (planning,),
            "s",
            target="≤ 30 s per 1,000,000",
        ),
        Row(
            "M5",
            "pace of the replay, plan included",
            (messages / replaying / own_pace,),
            "",
            "M3",
            "≥ 1",
        ),
        Row(
            "M6",
            "memory above idle, replaying",
            ((most - idle) / MEGABYTE,),
            "MB",
            target="≤ 200 MB",
        ),
    ]


async def _first_keys(folder: Path, prefix: str, *, packed: bool) -> tuple[float, ...]:
    """Return how many milliseconds the first key of a listing took, each time asked."""
    storage = create_storage_provider(storage_uri(folder, packed=packed))
    took = []
    try:
        for _ in range(FIRST_KEYS):
            begun = time.perf_counter()
            listing = aiter(storage.list(prefix))
            await anext(listing)
            took.append((time.perf_counter() - begun) * 1000)
    finally:
        await storage.close()
    return tuple(took)
