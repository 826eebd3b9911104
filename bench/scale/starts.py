"""How long commands and servers take to start, and what an idle server takes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from cost import tree_cpu, tree_memory
from pipelines import fan, one_route, stage
from rounds import Workplace, say
from servers import Server
from table import Row

from factflow_testing.server_process import environment

FACTFLOW = Path(sys.executable).with_name("factflow")
MEGABYTE = 1_000_000
IDLE_SECONDS = 10.0


def start_rows(place: Workplace, rounds: int) -> list[Row]:
    """Start a server, ask it by command line, and leave it in peace for a while."""
    say("starts")
    ready = []
    for _ in range(rounds):
        with Server(place.folder("start")) as server:
            ready.append(server.ready)
            server.stop()
    with Server(place.folder("idle")) as server:
        execution_id = server.begin(one_route(fan(10, 256), stage("a"), stage("c")))
        server.finish(execution_id)
        helps = tuple(_command("--help", server=server) for _ in range(rounds))
        gets = tuple(
            _command("execution", "get", execution_id, server=server) for _ in range(rounds)
        )
        before = tree_cpu(server.pid)
        time.sleep(IDLE_SECONDS)
        idle = (tree_cpu(server.pid) - before) / IDLE_SECONDS * 100
        memory = tree_memory(server.pid) / MEGABYTE
        server.stop()
    return [
        Row("S1", "factflow --help", helps, "s", target="≤ 0.25 s"),
        Row("S2", "factflow execution get", gets, "s", target="≤ 0.35 s"),
        Row("S3", "server, start to ready", tuple(ready), "s", target="≤ 2 s"),
        Row("S4", "processor time of an idle server", (idle,), "%", target="~ 0"),
        Row("S5", "memory of an idle server and its writer", (memory,), "MB", target="≤ 120 MB"),
    ]


def _command(*words: str, server: Server) -> float:
    """Return how many seconds a command took."""
    begun = time.perf_counter()
    subprocess.run(
        [FACTFLOW, *words],
        env=environment(FACTFLOW_SERVER_URL=server.url),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    return time.perf_counter() - begun
