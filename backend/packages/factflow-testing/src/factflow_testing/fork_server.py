"""Starts servers and workers for tests by forking a process that has imported everything once.

    python -m factflow_testing.fork_server SOCKET

Each request on the socket (a message of JSON, with four descriptors: stdin, stdout, stderr, and one to report
to) makes a process that is what `python -m factflow_server …` makes of itself, from its arguments to its last
thread. Its pid, and later how it ended, are lines to the last descriptor. The end of the socket is its own
end; what it started goes on.

The one thing that its processes have in common, and others have not, is the seed of `hash`: sets of strings
come in the same order in all that one worker of pytest starts. What `factflow selftest` starts has its own.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 20
DESCRIPTORS = 4


def main() -> int | None:
    """Serve until the socket ends; in a process that was asked for, be what it was asked to be."""
    _import_everything()
    request = ForkServer(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is None:
        return None
    _dress(request)
    from factflow_server.commands import main as serve

    return serve()


@dataclass(slots=True)
class ForkServer:
    """Makes a process of each request, and reports how each ended."""

    requests: socket.socket
    reports: dict[int, int] = field(default_factory=dict)
    """Where the end of each process is to be told."""
    handlers: dict[int, Any] = field(default_factory=dict)
    """What its signals did before it served."""

    def serve(self) -> dict[str, Any] | None:
        """Return None at the end of the socket, and in each new process what was asked for."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Ctrl+C is for the tests, which then end this.
        for number, handler in ((signal.SIGCHLD, lambda *_: None), (signal.SIGINT, signal.SIG_IGN)):
            self.handlers[number] = signal.signal(number, handler)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self.requests.fileno(), woken], [], [])
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                self._reap()
            if self.requests.fileno() in ready:
                body, descriptors, _, _ = socket.recv_fds(self.requests, MOST_BYTES, DESCRIPTORS)
                if not body:
                    return None
                *streams, report = descriptors
                pid = os.fork()
                if pid == 0:
                    self._leave(streams, [report, woken, wake])
                    request: dict[str, Any] = json.loads(body)
                    return request
                for stream in streams:
                    os.close(stream)
                self.reports[pid] = report
                _tell(report, pid)

    def _leave(self, streams: list[int], others: list[int]) -> None:
        """In a new process: let go of all that is the fork server's, and take over the streams."""
        signal.set_wakeup_fd(-1)
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.requests.close()
        for descriptor in (*others, *self.reports.values()):
            os.close(descriptor)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)

    def _reap(self) -> None:
        """Tell of every process that has ended."""
        for pid in list(self.reports):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                report = self.reports.pop(pid)
                _tell(report, os.waitstatus_to_exitcode(status))
                os.close(report)


def _tell(report: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(report, f"{number}\n".encode())


def _import_everything() -> None:
    """Do once what every server does for itself: import all but adapters of tests and libraries that have
    threads, and look at the adapters that are installed."""
    import tomllib  # noqa: F401

    import uvicorn.lifespan.off
    import uvicorn.protocols.http.auto
    import uvicorn.protocols.http.h11_impl
    import uvicorn.protocols.websockets.auto  # noqa: F401

    import factflow_server.commands
    import factflow_server.settings_file
    import factflow_server.startup
    import factflow_server.worker_process  # noqa: F401
    from factflow_engine.adapter_modules import module_distribution
    from factflow_engine.registry import AdapterRegistry

    AdapterRegistry.discover().all()
    module_distribution(__name__, None)
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads: a fork has only one of them, and the locks of all"
    # Nobody's garbage; a collection would touch, and so copy, all of it in each process.
    gc.collect()
    gc.freeze()


def _dress(request: dict[str, Any]) -> None:
    """Take over arguments, folder and environment, and what was read of them when modules were imported."""
    from factflow_foundation import crash_points

    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    if not sys.flags.safe_path:
        sys.path[0] = request["folder"]
    sys.argv = ["factflow_server", *request["arguments"]]
    crash_points._armed = crash_points.CrashPoint(os.environ.get("FACTFLOW_CRASH_POINT"))
    random.seed()


if __name__ == "__main__":
    sys.exit(main())
