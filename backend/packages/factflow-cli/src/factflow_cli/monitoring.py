"""`factflow execution monitor`: a screen that follows an execution to its end.

It asks for a snapshot every second as long as a person looks at it, and for nothing otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import path, rows, text
from factflow_cli.durations import format_duration
from factflow_cli.errors import CliError, unexpected_answer
from factflow_cli.event_stream import PATIENCE_SECONDS
from factflow_cli.execution_view import ROUTE_COLUMNS
from factflow_cli.exit_codes import FINAL_STATUSES, ExitCode
from factflow_cli.session import Session
from factflow_cli.tables import Row, cut, drawn_table
from factflow_cli.values import rate, share
from factflow_cli.waiting import exit_as

if TYPE_CHECKING:
    from rich.text import Text

REDRAW_SECONDS = 1.0
BAR_CELLS = 20


def watch(session: Session, execution_id: str, *, once: bool) -> None:
    """Show snapshots until the execution ends, and end as it ended; with `once`, or without a terminal,
    show one and end."""
    where = path("executions", execution_id, "monitor")
    first = session.api.get(where)
    if once or not session.shows_progress:
        session.show(first, lambda: terminal.write_text(picture(first)))
        return
    try:
        last = _follow(session, where, first)
    except KeyboardInterrupt:
        terminal.say(f"no longer watching; execution {execution_id} goes on")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    exit_as(_execution(last))


def _follow(session: Session, where: str, first: Row) -> Row:
    """Redraw until the execution has ended; return the last snapshot, which stays on the screen."""
    from rich.console import Console
    from rich.live import Live

    console = Console(width=terminal.width(), highlight=False, markup=False, emoji=False)
    snapshot, away_since = first, None
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(_styled(picture(snapshot)), refresh=True)
            if text(_execution(snapshot), "status") in FINAL_STATUSES:
                return snapshot
            time.sleep(REDRAW_SECONDS)
            try:
                snapshot, away_since = session.api.get(where), None
            except CliError as error:
                away_since = away_since or time.monotonic()
                if not error.passing or time.monotonic() - away_since > PATIENCE_SECONDS:
                    raise


def _styled(shown: str) -> Text:
    from rich.text import Text

    return Text(shown.rstrip("\n"), no_wrap=True, overflow="crop")


def picture(snapshot: Row) -> str:
    """Return a snapshot as lines that fit the terminal."""
    execution, metrics = _execution(snapshot), snapshot.get("metrics")
    if not isinstance(metrics, Mapping):
        raise unexpected_answer("'metrics' is no object")
    room = terminal.width()
    lines = [
        f"{execution.get('config_name')}  {execution.get('status')}  {execution.get('execution_id')}",
        _totals(metrics, snapshot),
    ]
    shown = "".join(f"{cut(terminal.one_line(line), room)}\n" for line in lines)
    shown += "\n" + drawn_table(ROUTE_COLUMNS, rows(snapshot, "routes"))
    failures = snapshot.get("failures")
    if isinstance(failures, Sequence) and failures:
        told = [cut(terminal.one_line(_failure(row)), room) for row in failures]
        shown += "\n" + "\n".join(["last failures", *told]) + "\n"
    return shown


def _totals(metrics: Row, snapshot: Row) -> str:
    settled = _number(metrics, "completed") + _number(metrics, "failed")
    total = _number(metrics, "total_messages")
    plan = snapshot.get("plan")
    if isinstance(plan, Mapping):
        total += max(0, _number(plan, "planned") - _number(plan, "published"))
    filled = BAR_CELLS * settled // total if total else 0
    parts = [
        f"[{'#' * filled}{'.' * (BAR_CELLS - filled)}] {settled}/{total}",
        f"{metrics.get('failed')} failed",
        f"{rate(metrics.get('per_second')) or '0'}/s",
    ]
    if metrics.get("failure_share"):
        parts[1] += f" ({share(metrics['failure_share'])})"
    eta = snapshot.get("eta_seconds")
    if isinstance(eta, int | float):
        parts.append(f"about {format_duration(eta)} left")
    return "  ".join(parts)


def _failure(row: Row) -> str:
    error = row.get("error")
    why = f"{error.get('type')}: {error.get('message')}" if isinstance(error, Mapping) else "failed"
    return f"  {row.get('route_id')}/{row.get('stage')}  {why}"


def _execution(snapshot: Row) -> Mapping[str, Any]:
    execution = snapshot.get("execution")
    if not isinstance(execution, Mapping):
        raise unexpected_answer("'execution' is no object")
    return execution


def _number(values: Row, name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else 0
