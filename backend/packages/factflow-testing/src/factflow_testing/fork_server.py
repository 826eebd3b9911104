"""Starts servers and workers for tests by forking a process that has imported everything once.

    python -m factflow_testing.fork_server SOCKET

Each request on the socket (a message of JSON, with four descriptors: stdin, stdout, stderr, and one to report
to) makes a process that does what `python -m factflow_server …` does. Its pid, and later how it ended, are
lines to the last descriptor. The end of the socket is its own end; what it started goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import sys
import traceback
from importlib.metadata import entry_points
from typing import NoReturn

MOST_BYTES = 1 << 20
DESCRIPTORS = 4


def main() -> None:
    """Serve until the socket ends."""
    _import_everything()
    requests = socket.socket(fileno=int(sys.argv[1]))
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the tests, which then end this
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    reports: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests.fileno(), woken], [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            _reap(reports)
        if requests.fileno() in ready:
            body, descriptors, _, _ = socket.recv_fds(requests, MOST_BYTES, DESCRIPTORS)
            if not body:
                return
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for descriptor in (requests.fileno(), woken, wake, *reports.values()):
                    os.close(descriptor)
                _become(json.loads(body), descriptors)
            *streams, report = descriptors
            for stream in streams:
                os.close(stream)
            reports[pid] = report
            _tell(report, pid)


def _import_everything() -> None:
    """Import what every server does, without adapters of tests and libraries that have threads."""
    import factflow_server.commands
    import factflow_server.startup
    import factflow_server.worker_process  # noqa: F401

    for entry in entry_points(group="factflow.adapters"):
        entry.load()


def _reap(reports: dict[int, int]) -> None:
    """Tell of every process that has ended."""
    for pid in list(reports):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            report = reports.pop(pid)
            _tell(report, os.waitstatus_to_exitcode(status))
            os.close(report)


def _tell(report: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(report, f"{number}\n".encode())


def _become(request: dict[str, object], descriptors: list[int]) -> NoReturn:
    """Be the process that was asked for, to its end."""
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        *streams, report = descriptors
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.close(report)
        _dress(request)
        from factflow_server.commands import main as serve

        code = serve(sys.argv[1:])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        code = 1
    finally:
        for file in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                file.flush()
        os._exit(code)


def _dress(request: dict[str, object]) -> None:
    """Take over arguments, folder and environment, and what was read of them when modules were imported."""
    from factflow_foundation import crash_points

    environment = request["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(request["folder"]))
    sys.path[0] = str(request["folder"])
    arguments = request["arguments"]
    assert isinstance(arguments, list)
    sys.argv = ["factflow_server", *arguments]
    crash_points._armed = crash_points.CrashPoint(os.environ.get("FACTFLOW_CRASH_POINT"))
    random.seed()


if __name__ == "__main__":
    main()
