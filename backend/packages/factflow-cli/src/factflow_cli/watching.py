"""Watching what an execution stores: a line for each outcome, until the execution ends."""

from __future__ import annotations

from typing import Any

import typer

from factflow_cli import terminal
from factflow_cli.api import path, text
from factflow_cli.errors import CliError
from factflow_cli.event_stream import END, Event, EventStream
from factflow_cli.exit_codes import ExitCode
from factflow_cli.session import Session
from factflow_cli.tables import cut, print_line
from factflow_cli.values import size

_OUTCOME_WIDTH = 10
_SIZE_WIDTH = 9
_TIME_WIDTH = 8


def watch_storage(
    session: Session, execution_id: str, *, route: str | None, new_only: bool
) -> None:
    """Show outcomes until the execution ends, or nobody reads them any more. Raises `CliError`, and
    `typer.Exit` when the execution was interrupted or the watching was."""
    stream = EventStream(
        session.api,
        path("executions", execution_id, "storage-stream"),
        seconds=session.wait_seconds,
        timed_out=lambda after: _timed_out(execution_id, after),
        route=route,
        new_only=new_only or None,
    )
    terminal.end_when_unread()
    try:
        for event in stream:
            if event.name == END:
                _end(execution_id, event)
            elif session.wants_json:
                terminal.write_json_line({"event": event.name, **event.data})
            else:
                print_line(_line(event.data))
            if terminal.reader_is_gone():
                return
    except KeyboardInterrupt:
        terminal.say(f"no longer watching; execution {execution_id} is left as it is")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _line(outcome: dict[str, Any]) -> str:
    """Return time, outcome, size and what was stored, or where, on one line of the terminal."""
    at = str(outcome.get("completed_at") or "")[11 : 11 + _TIME_WIDTH]
    stage = f"{outcome.get('route_id')}/{outcome.get('stage')}"
    key = str(outcome.get("key") or "")
    error = outcome.get("error")
    told = "/".join(key.split("/")[2:]) or f"{stage}/{outcome.get('message_id')}"
    if isinstance(error, dict):
        told = f"{stage} {error.get('type')}: {error.get('message')}"
    elif outcome.get("outcome") == "fanned_out":
        told = f"{told} -> {outcome.get('output_count')} children"
    head = (
        f"{at:<{_TIME_WIDTH}}  {outcome.get('outcome')!s:<{_OUTCOME_WIDTH}}  "
        f"{size(outcome.get('size')):>{_SIZE_WIDTH}}  "
    )
    return head + cut(terminal.one_line(told), terminal.width() - len(head))


def _end(execution_id: str, event: Event) -> None:
    status = text(event.data, "status")
    terminal.say(f"execution {execution_id} is {status}")
    if event.data.get("complete") is False and status != "interrupted":
        terminal.say(
            "some outcomes may not have been told: lineage lacks rows, which are made again; "
            "see factflow system health"
        )
    if status == "interrupted":
        raise typer.Exit(ExitCode.EXECUTION_INTERRUPTED)


def _timed_out(execution_id: str, after: str) -> CliError:
    return CliError(
        f"execution {execution_id} has not ended after {after}; it goes on",
        hint=f"factflow storage watch --new-only --execution {execution_id}",
        exit_code=ExitCode.TIMEOUT,
    )
