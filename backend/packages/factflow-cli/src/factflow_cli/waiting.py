"""Waiting for an execution to end, with or without moving bars; a restart of the server is sat out.

Ctrl+C and `--timeout` end the waiting, never the execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import Api, path, rows, text
from factflow_cli.errors import CliError
from factflow_cli.event_stream import END, Event, EventStream
from factflow_cli.exit_codes import FINAL_STATUSES, ExitCode, for_execution

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Tell = Callable[[Event], None]

_QUIET = frozenset({"started", "progress", END})


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
    stream = EventStream(
        api,
        path("executions", execution_id, "events"),
        seconds=seconds,
        timed_out=lambda after: _timed_out(execution_id, after),
        on_lost=on_lost,
    )
    try:
        with _bars() if progress else _lines() as tell:
            for event in stream:
                tell(event)
        _check_status(execution_id, event)
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


def _check_status(execution_id: str, end: Event) -> None:
    status = text(end.data, "status")
    if status not in FINAL_STATUSES:
        raise CliError(
            f"execution {execution_id} ended with a status unknown here: {status}",
            hint="is the server newer than this command?",
            exit_code=ExitCode.SERVER_ERROR,
        )


def _timed_out(execution_id: str, after: str) -> CliError:
    return CliError(
        f"execution {execution_id} has not ended after {after}; it goes on",
        hint=f"factflow --timeout 1h execution wait {execution_id}",
        exit_code=ExitCode.TIMEOUT,
    )


def _line(event: Event) -> str:
    """Return what happened on one line: `14:02:11 route paused: crawl (its disk is full)`."""
    at = str(event.data.get("at") or "")[11:19]
    subject = event.data.get("route_id") or ""
    info = event.data.get("error_info")
    reason = event.data.get("reason") or (info.get("message") if isinstance(info, dict) else "")
    said = f"{at} {event.name.replace('_', ' ')}"
    said += f": {subject}" if subject else ""
    return terminal.one_line(f"{said} ({reason})" if reason else said)


@contextmanager
def _lines() -> Iterator[Tell]:
    """Yield a function that says on stderr what happens beside work going on."""

    def tell(event: Event) -> None:
        if event.name not in _QUIET:
            terminal.say(_line(event))

    yield tell


@contextmanager
def _bars() -> Iterator[Tell]:
    """Yield a function that redraws one bar for each route, on stderr, as progress is told."""
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

    def tell(event: Event) -> None:
        if event.name == "progress":
            _update(bars, tasks, event.data)
        elif event.name not in _QUIET:
            bars.console.print(_line(event))

    with bars:
        yield tell


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
