"""The self-test as a process of its own: it speaks JSON, a line each, and is ended with this command."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NoReturn

from factflow_cli.errors import CliError
from factflow_cli.exit_codes import ExitCode

STOP_SECONDS = 30.0

Progress = Callable[[Mapping[str, Any]], None]


def selftest(arguments: list[str], progress: Progress, seconds: float | None) -> dict[str, Any]:
    """Run `python -m factflow_selftest` and return its figures; `progress` is told what it says meanwhile.

    `seconds` limits the time (None: no limit). Raises `CliError` when it is not installed, could not make
    its proof, or takes too long. Whatever happens, its process is gone afterwards.
    """
    with subprocess.Popen(  # noqa: S603  # our own interpreter and module, no shell
        [*_command(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl+C is for us; it is ended in order then
    ) as process:
        late = threading.Event()
        timer = threading.Timer(seconds or 0, _end_late, (process, late))
        before = {
            number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)
        }
        try:
            if seconds is not None:
                timer.start()
            said = _listen(process, progress)
        finally:
            timer.cancel()
            _end(process)
            for number, handler in before.items():
                signal.signal(number, handler)
    return _figures(said, late=late.is_set())


def _command() -> list[str]:
    if importlib.util.find_spec("factflow_selftest") is None:
        raise CliError(
            "the self-test is not installed beside this command",
            hint="pip install factflow-selftest",
            exit_code=ExitCode.UNREACHABLE,
        )
    return [sys.executable, "-m", "factflow_selftest"]


def _listen(process: subprocess.Popen[str], progress: Progress) -> dict[str, Any]:
    """Return the last thing it says."""
    last: dict[str, Any] = {}
    for line in process.stdout or ():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        last = said if isinstance(said, dict) else {}
        if isinstance(last.get("progress"), dict):
            progress(last["progress"])
    return last


def _figures(said: Mapping[str, Any], *, late: bool) -> dict[str, Any]:
    figures = said.get("figures")
    if isinstance(figures, dict):
        return figures
    if late:
        raise CliError(
            "the self-test was not done in time",
            hint="fewer --kills or --seconds, or a longer --timeout",
            exit_code=ExitCode.TIMEOUT,
        )
    raise CliError(
        f"the self-test could not be made: {said.get('error') or 'it said nothing'}",
        hint=f"its log is in {said['folder']}"
        if said.get("folder")
        else "--keep leaves its log behind",
        exit_code=ExitCode.SERVER_ERROR,
    )


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _end_late(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    process.terminate()


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  # signal's shape
    """Unwind, so that the process is ended, instead of dying on the spot."""
    sys.exit(128 + number)
