"""`factflow why`: what keeps an execution, a route or a message, and what to do about it."""

from typing import Annotated

import typer

from factflow_cli.api import path, rows
from factflow_cli.command import command
from factflow_cli.session import Session
from factflow_cli.why_view import draw_answer


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    command(
        app,
        "why",
        "factflow why EXECUTION_ID",
        "factflow why embed --execution nightly",
        "factflow why MESSAGE_ID --output json",
    )(why)


def why(
    session: Session,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SUBJECT", help="An execution (id or tag), a route, or a message (id)."
        ),
    ],
    execution: Annotated[
        str | None,
        typer.Option("--execution", "-e", help="A route or message of this one (id or tag)."),
    ] = None,
) -> None:
    """Tell why an execution, a route or a message is where it is.

    Each cause stands above what it comes from, with the command to try next. Every kind of cause is
    explained in docs/guides/why.md.
    """
    answer = session.api.get(path("why", subject), execution_id=execution)
    causes = rows(answer, "causes")
    session.show(answer, lambda: draw_answer(answer, causes))
