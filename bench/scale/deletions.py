"""Deleting one execution of very many objects, and what others wait for meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from latency import p95
from pipelines import fan, one_route, stage
from rounds import Workplace, say
from servers import Server, wait_until
from table import Row

SIZE = 256
PAUSE = 0.02
"""Seconds between two requests."""
NAMES = {False: "plain files", True: "packed"}


def deletion_rows(place: Workplace, objects: int, kinds: Sequence[bool]) -> list[Row]:
    """Delete an execution of so many objects, half of them emitted and half made of these, on each kind
    of storage (True: packed)."""
    return [row for packed in kinds for row in _rows_of(place, objects, packed=packed)]


def _rows_of(place: Workplace, objects: int, *, packed: bool) -> list[Row]:
    kind, suffix = NAMES[packed], "k" if packed else ""
    say(f"deleting {objects} objects, {kind}")
    with Server(place.folder("deletion"), packed=packed) as server:
        server.api.timeout = None
        other = server.begin(_pipeline(10))
        server.finish(other)
        execution_id = server.begin(_pipeline(objects // 2))
        server.finish(execution_id)
        quiet = _Others(server, other)
        quiet.ask_for(2.0)
        others = _Others(server, other)
        with others:
            begun = time.monotonic()
            answer = server.api.delete(f"/executions/{execution_id}")
            answered = time.monotonic() - begun
            if answer.status_code != 202:
                raise SystemExit(f"not deleted: {answer.text}")
            wait_until("the deletion", lambda: _is_deleted(server, execution_id))
            took = time.monotonic() - begun
        gone = server.get(f"/executions/{execution_id}/deletion")
        server.stop()
    say(f"  {took:.1f} s, p95 of others {p95(others.took):.0f} ms, before {p95(quiet.took):.0f} ms")
    return [
        Row(
            f"D1{suffix}",
            f"deleting an execution of {gone['objects']} objects, {kind}",
            (took,),
            "s",
            note=f"DELETE itself answers after {answered * 1000:.0f} ms",
        ),
        Row(
            f"D2{suffix}",
            f"other requests meanwhile, p95 of {len(others.took)}",
            (p95(others.took),),
            "ms",
            target="≤ 50 ms",
            note=f"{p95(quiet.took):.0f} ms before, the longest {max(others.took):.0f}",
        ),
    ]


def _pipeline(count: int) -> str:
    return one_route(fan(count, SIZE, lazily=True), stage("a"))


def _is_deleted(server: Server, execution_id: str) -> bool:
    return bool(server.get(f"/executions/{execution_id}/deletion", wait=30)["state"] == "deleted")


class _Others:
    """Somebody who asks for another execution, its lineage, its objects and the list of all, in turn."""

    def __init__(self, server: Server, execution_id: str) -> None:
        self.took: list[float] = []
        self._server = server
        self._paths = (
            "/executions",
            f"/executions/{execution_id}",
            f"/lineage?execution_id={execution_id}",
            f"/storage/objects?execution_id={execution_id}",
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def ask_for(self, seconds: float) -> None:
        """Ask for a while."""
        with self:
            self._ended.wait(seconds)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self.took or not self._ended.wait(PAUSE):
            path = self._paths[len(self.took) % len(self._paths)]
            begun = time.perf_counter()
            self._server.get(path)
            self.took.append((time.perf_counter() - begun) * 1000)
