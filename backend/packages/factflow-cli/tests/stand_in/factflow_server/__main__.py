"""`python -m factflow_server` as the command line knows it, answering from the stub.

`STAND_IN` in the environment makes it misbehave: `refuse` (start error), `locked`, `silent`, `die`
(goes away at the first wait), `echo` (prints its arguments). It writes `serving` and `stopped` into
its data folder, so that tests can see both.
"""

# ruff: noqa: T201 - a program of its own speaks on stdout and stderr

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factflow_server.listener import Stub, Told
from factflow_server.rows import ISSUE, RUN, execution, progress
from factflow_server.stub import content, events

MODE = os.environ.get("STAND_IN", "")


def serve(arguments: list[str]) -> int:
    """Answer until SIGTERM."""
    if MODE == "echo":
        print(json.dumps(arguments))
        return 0
    if MODE in {"refuse", "locked"}:
        print("factflow: error: the data folder belongs to server 4711", file=sys.stderr)
        print("hint: give that server's address with --server", file=sys.stderr)
        return 3 if MODE == "locked" else 2
    if MODE == "silent":
        return 1
    folder = Path(arguments[arguments.index("--data-dir") + 1])
    folder.mkdir(exist_ok=True)
    answers, stop = content(), threading.Event()
    if MODE == "die":
        answers[f"GET /executions/{RUN}/events"] = lambda _: os._exit(1)
    if MODE == "forever":
        answers[f"GET /executions/{RUN}/events"] = Told(_until(stop))
    answers[f"GET /executions/{RUN}"] = execution(os.environ.get("STAND_IN_STATUS", "completed"))
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Stub(answers) as stub:
        if "STAND_IN_STATUS" in os.environ:
            status = os.environ["STAND_IN_STATUS"]
            stub.answers[f"GET /executions/{RUN}/events"] = events(status)
        (folder / "serving").write_text(str(os.getpid()))
        print(f"Factflow listening on {stub.url} (data in {folder})", flush=True)
        stop.wait()
    (folder / "stopped").write_text(json.dumps([a.path for a in stub.asked]))
    return 0


def _until(stop: threading.Event) -> Iterator[tuple[str, dict[str, Any]]]:
    yield progress()
    stop.wait()


def validate(arguments: list[str]) -> int:
    """Judge the files given after `--`."""
    files = []
    for name in arguments[arguments.index("--") + 1 :]:
        bad = "web_scrapper" in Path(name).read_text()
        issues = [ISSUE] if bad else []
        files.append({"source": name, "is_valid": not bad, "issues": issues})
    if MODE == "refuse":
        print("factflow: error: there is no module 'nope'", file=sys.stderr)
        return 2
    print(json.dumps({"files": files}))
    return 0


if __name__ == "__main__":
    command = {"serve": serve, "validate": validate, "worker": serve}[sys.argv[1]]
    sys.exit(command(sys.argv[1:]))
