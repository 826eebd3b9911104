"""Waiting for an execution to end, with or without moving bars; a restart of the server is sat out.

Ctrl+C and `--timeout` end the waiting, never the execution.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import Api, path, rows, text
from factflow_cli.durations import format_duration
from factflow_cli.errors import CliError
from factflow_cli.exit_codes import FINAL_STATUSES, ExitCode, for_execution

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Draw = Callable[[], None]

LONG_POLL_SECONDS = 30
"""Of one request; short enough for proxies that cut silent connections after a minute."""
REDRAW_SECONDS = 1
PATIENCE_SECONDS = 30.0
"""How long a server may be away while we wait."""
RETRY_SECONDS = 0.5


def wait_until_ended(
    api: Api,
    execution_id: str,
    *,
    seconds: float | None,
    progress: bool,
    on_lost: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Return the execution as it stands after its end.

    `seconds` limits the waiting (None: no limit). `on_lost` is called whenever the server does not
    answer, and may raise. Raises `CliError`: timeout, unknown id, a server that stays away.
    """
    waiter = _Waiter(api, execution_id, seconds, on_lost)
    try:
        with _bars(api, execution_id) if progress else _no_bars() as redraw:
            waiter.run(redraw, REDRAW_SECONDS if progress else LONG_POLL_SECONDS)
        return api.get(path("executions", execution_id))
    except KeyboardInterrupt:
        terminal.say(f"no longer waiting; execution {execution_id} goes on")
        terminal.say(f"hint: factflow execution wait {execution_id}, or cancel in place of wait")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def exit_as(execution: Mapping[str, Any]) -> None:
    """End the command with the code that stands for the execution's status."""
    code = for_execution(text(execution, "status"))
    if code:
        raise typer.Exit(code)


class _Waiter:
    """The loop of long polls; remembers the deadline and since when the server is away."""

    def __init__(
        self,
        api: Api,
        execution_id: str,
        seconds: float | None,
        on_lost: Callable[[], None] | None,
    ) -> None:
        self._api = api
        self._id = execution_id
        self._seconds = seconds
        self._deadline = math.inf if seconds is None else time.monotonic() + seconds
        self._on_lost = on_lost
        self._has_answered = False
        self._away_since: float | None = None

    def run(self, redraw: Draw, poll_seconds: int) -> None:
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise self._timed_out()
            try:
                redraw()
                ended = self._ask(max(1, math.ceil(min(poll_seconds, left))))
            except CliError as error:
                self._sit_out(error)
                continue
            self._has_answered, self._away_since = True, None
            if ended:
                return

    def _ask(self, seconds: int) -> bool:
        answer = self._api.post(
            path("executions", self._id, "wait"), {"timeout": seconds}, seconds=seconds + 30
        )
        status = text(answer, "status")
        if answer.get("completed") is True and status not in FINAL_STATUSES:
            raise CliError(
                f"execution {self._id} ended with a status unknown here: {status}",
                hint="is the server newer than this command?",
                exit_code=ExitCode.SERVER_ERROR,
            )
        return status in FINAL_STATUSES

    def _sit_out(self, error: CliError) -> None:
        """Wait a moment when the server is only away; raise the error when it is not, or too long."""
        if error.passing and self._on_lost is not None:
            self._on_lost()
        if not error.passing or not self._has_answered:
            raise error
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            terminal.say(f"{error.message}; trying again for {PATIENCE_SECONDS:g}s")
        if now - self._away_since > PATIENCE_SECONDS:
            raise error
        time.sleep(RETRY_SECONDS)

    def _timed_out(self) -> CliError:
        after = format_duration(self._seconds or 0)
        return CliError(
            f"execution {self._id} has not ended after {after}; it goes on",
            hint=f"factflow --timeout 1h execution wait {self._id}",
            exit_code=ExitCode.TIMEOUT,
        )


@contextmanager
def _no_bars() -> Iterator[Draw]:
    yield lambda: None


@contextmanager
def _bars(api: Api, execution_id: str) -> Iterator[Draw]:
    """Yield a function that asks for the routes' progress and redraws one bar for each, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column as Cell

    console = Console(stderr=True, width=terminal.width(), highlight=False, markup=False)
    bars = Progress(
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Cell(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        BarColumn(bar_width=16),
        TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=Cell(no_wrap=True)),
        TextColumn("{task.fields[rest]}", markup=False, table_column=Cell(no_wrap=True)),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        expand=True,
    )
    tasks: dict[str, TaskID] = {}
    with bars:
        yield lambda: _update(bars, tasks, api.get(path("executions", execution_id, "routes")))


def _update(bars: Progress, tasks: dict[str, TaskID], answer: Mapping[str, Any]) -> None:
    for route in rows(answer, "routes"):
        name = terminal.one_line(route.get("name") or route.get("route_id") or "?")
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=0, rest="")
        failed, queued = _count(route, "failed"), _count(route, "queued")
        bars.update(
            tasks[name],
            total=_count(route, "total_messages"),
            completed=_count(route, "completed") + failed,
            rest=f"{failed} failed {queued} queued",
        )


def _count(route: Mapping[str, Any], name: str) -> int:
    value = route.get(name)
    return value if isinstance(value, int) else 0
