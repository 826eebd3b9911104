"""Staying with an execution until it ends, and ending the command as it ended."""

from __future__ import annotations

from factflow_cli.execution_view import draw_execution, suggest_next, without_snapshot
from factflow_cli.session import Session
from factflow_cli.waiting import exit_as, wait_until_ended


def wait_and_exit(session: Session, execution_id: str) -> None:
    """Wait, show how it ended, and end with the exit code that stands for it."""
    ended = wait_until_ended(
        session.api, execution_id, seconds=session.wait_seconds, progress=session.shows_progress
    )
    session.show(without_snapshot(ended), lambda: draw_execution(ended))
    if not session.wants_json:
        suggest_next(ended)
    exit_as(ended)
