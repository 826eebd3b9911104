"""`factflow execution`: what runs and ran, waiting for it, cancelling it, running it again."""

from typing import Annotated

import typer

from factflow_cli.api import path, rows, text
from factflow_cli.command import command, group
from factflow_cli.commands import deletions, replays
from factflow_cli.errors import CliError
from factflow_cli.execution_view import (
    LIST_COLUMNS,
    ROUTE_COLUMNS,
    draw_dag,
    draw_execution,
    print_stages,
)
from factflow_cli.exit_codes import ExitCode
from factflow_cli.following import wait_and_exit
from factflow_cli.session import Session
from factflow_cli.tables import print_facts, print_line, print_table, print_total
from factflow_cli.values import share

app = group("Follow, cancel and replay executions.")

ExecutionId = Annotated[
    str, typer.Argument(metavar="EXECUTION_ID", help="Id of an execution, or its tag.")
]
STATUSES = ("running", "completed", "failed", "cancelled", "interrupted")


@command(
    app,
    "list",
    "factflow execution list",
    "factflow execution list --status failed --limit 20 --offset 0",
)
def list_executions(
    session: Session,
    *,
    status: Annotated[
        str | None, typer.Option("--status", help=f"One of {', '.join(STATUSES)}.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 50,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Rows to pass over.")] = 0,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those too that were deleted.")
    ] = False,
) -> None:
    """List executions, newest first."""
    if status is not None and status not in STATUSES:
        raise CliError(f"there is no status {status!r}", hint=f"one of {', '.join(STATUSES)}")
    answer = session.api.get(
        "/executions", status=status, limit=limit, offset=offset, deleted=deleted or None
    )
    executions = rows(answer, "executions")

    def draw() -> None:
        print_table(LIST_COLUMNS, executions)
        print_total(answer, len(executions), "executions")

    session.show(answer, draw)


@command(app, "get", "factflow execution get EXECUTION_ID")
def get(session: Session, execution_id: ExecutionId) -> None:
    """Show status, config, times and each route's progress."""
    execution = session.api.get(path("executions", execution_id))
    text(execution, "status")
    session.show(execution, lambda: draw_execution(execution))


@command(
    app,
    "wait",
    "factflow execution wait EXECUTION_ID",
    "factflow --timeout 1h execution wait EXECUTION_ID",
)
def wait(session: Session, execution_id: ExecutionId) -> None:
    """Wait until an execution ends.

    The exit code says how it ended: 0 completed, 1 failed, 3 cancelled, 9 interrupted. Ctrl+C and
    --timeout end the waiting and leave the execution running.
    """
    wait_and_exit(session, execution_id)


@command(app, "cancel", "factflow execution cancel EXECUTION_ID")
def cancel(
    session: Session,
    execution_id: ExecutionId,
    grace: Annotated[
        float,
        typer.Option(
            "--grace", min=0, max=3600, help="Seconds that work in flight may take to end."
        ),
    ] = 10,
) -> None:
    """Cancel an execution; work in flight may end."""
    answer = session.api.post(
        path("executions", execution_id, "cancel"),
        {"grace_seconds": grace},
        seconds=grace + 60,
    )
    now = text(answer, "current_status")
    facts = (
        ("execution", answer.get("execution_id")),
        ("was", answer.get("previous_status")),
        ("is", now),
        ("message", answer.get("message")),
    )
    session.show(answer, lambda: print_facts(facts))
    if answer.get("success") is False:
        raise typer.Exit(ExitCode.REFUSED)


@command(app, "dag", "factflow execution dag EXECUTION_ID")
def dag(session: Session, execution_id: ExecutionId) -> None:
    """Show the routes, their stages, and the queues that join them."""
    graph = session.api.get(path("executions", execution_id, "dag"))
    nodes, edges = rows(graph, "nodes"), rows(graph, "edges")
    session.show(graph, lambda: draw_dag(graph, nodes, edges))


@command(app, "stats", "factflow execution stats EXECUTION_ID")
def stats(session: Session, execution_id: ExecutionId) -> None:
    """Show message counts, failures and durations per stage."""
    answer = session.api.get(path("executions", execution_id, "stats"))
    stages = rows(answer, "stages")

    def draw() -> None:
        print_facts(
            [
                ("messages", answer.get("total_messages")),
                ("completed", answer.get("completed_messages")),
                ("failed", answer.get("failed_messages")),
                ("in progress", answer.get("in_progress_messages")),
                ("success rate", share(answer.get("success_rate"))),
            ]
        )
        print_line()
        print_stages(stages)

    session.show(answer, draw)


@command(app, "routes", "factflow execution routes EXECUTION_ID")
def routes(session: Session, execution_id: ExecutionId) -> None:
    """Show every route with its queue, state and counts."""
    answer = session.api.get(path("executions", execution_id, "routes"))
    found = rows(answer, "routes")
    session.show(answer, lambda: print_table(ROUTE_COLUMNS, found))


replays.add_to(app)
deletions.add_to(app)
