"""`factflow system`: is the server well, what has it done, what takes the space?"""

from typing import Annotated

import typer

from factflow_cli.api import rows, text
from factflow_cli.command import command, group
from factflow_cli.exit_codes import ExitCode, for_health
from factflow_cli.server_address import shown
from factflow_cli.session import Session
from factflow_cli.system_view import (
    draw_diagnosis,
    draw_health,
    draw_metrics,
    draw_storage,
    draw_workers,
)

app = group("Look after the server.")

DIAGNOSIS_SECONDS = 300.0
"""How long the answer may take: a round trip through each of many queues."""
SHORT_WAIT_SECONDS = 5
WAIT_SECONDS = 60
"""How long an answer may wait for counts."""


@command(app, "health", "factflow system health", "factflow system health --debug")
def health(
    session: Session,
    debug: Annotated[
        bool, typer.Option("--debug", help="Each part's latency, numbers and settings, too.")
    ] = False,
) -> None:
    """Show whether the server and its parts are well, and what to do if not.

    Exits with 11 when it is degraded, and with 8 when it is unhealthy.
    """
    answer = session.api.get("/system/health", debug=debug or None)
    status = text(answer, "status")
    components = rows(answer, "components")
    session.show(answer, lambda: draw_health(answer, shown(session.url), components))
    code = for_health(status)
    if code is not ExitCode.OK:
        raise typer.Exit(code)


@command(app, "metrics", "factflow system metrics")
def metrics(session: Session) -> None:
    """Show what the server has done since its start, and has in hand now."""
    answer = session.api.get("/system/metrics")
    session.show(answer, lambda: draw_metrics(answer))


@command(app, "workers", "factflow system workers")
def workers(session: Session) -> None:
    """Show the workers that are there, what each works on, and what keeps it."""
    answer = session.api.get("/system/workers")
    session.show(answer, lambda: draw_workers(answer, rows(answer, "workers")))


@command(app, "mq-diagnostic", "factflow system mq-diagnostic")
def mq_diagnostic(session: Session) -> None:
    """Send a message through each queue, beside the work, and show how the queues stand.

    Exits with 8 when a message does not come back. Messages of executions are not touched.
    """
    answer = session.api.post("/system/mq-diagnostic", seconds=DIAGNOSIS_SECONDS)
    session.show(answer, lambda: draw_diagnosis(answer))
    if not answer.get("ok"):
        raise typer.Exit(ExitCode.SERVER_ERROR)


@command(
    app,
    "storage",
    "factflow system storage",
    "factflow system storage --limit 5 --refresh",
)
def storage(
    session: Session,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Rows to show.")] = 20,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Rows to pass over.")] = 0,
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Count everything again, and wait for it.")
    ] = False,
) -> None:
    """Show what takes the space, the largest executions first.

    Counts are kept; what was not counted yet is counted meanwhile, for some seconds.
    """
    answer = session.api.get(
        "/system/storage",
        seconds=WAIT_SECONDS + 30,
        limit=limit,
        offset=offset,
        wait=WAIT_SECONDS if refresh else SHORT_WAIT_SECONDS,
        refresh=refresh or None,
    )
    executions = rows(answer, "executions")
    databases = rows(answer, "databases")
    session.show(answer, lambda: draw_storage(answer, executions, databases))
