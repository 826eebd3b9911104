"""`python -m factflow_selftest` without a server: says at once what a run would have said.

`STAND_IN` in the environment makes it end otherwise: `wrong` (the proof does not hold), `error`, `silent`,
`forever` (until SIGTERM; then it writes `stopped` into the working directory).
"""

# ruff: noqa: T201 - a program of its own speaks on stdout

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

MODE = os.environ.get("STAND_IN", "")


def main(arguments: list[str]) -> int:
    """Say how a run went; the figures carry the arguments along."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    kills = int(arguments[arguments.index("--kills") + 1])
    for done in range(1, kills + 1):
        print(json.dumps({"progress": {"kills": done, "executions": 1}}), flush=True)
    if MODE == "forever":
        ended.wait()
        Path("stopped").touch()
        return 143
    if MODE == "silent":
        return 1
    if MODE == "error":
        print(json.dumps({"error": "the server ended by itself with code 2: no disk"}))
        return 8
    lost = 1 if MODE == "wrong" else 0
    problems = ["message m1, announced by _init, has 0 final records"] * lost
    figures: dict[str, Any] = {
        "holds": not lost,
        "seed": 7,
        "kills": kills,
        "lost": lost,
        "committed_twice": 0,
    }
    figures |= {"outcomes": {"stored": 40, "failed": 2}, "problems": problems}
    print(json.dumps({"figures": figures | {"arguments": arguments}}))
    return lost


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
