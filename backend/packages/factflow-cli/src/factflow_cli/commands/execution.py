"""`factflow execution`: what runs and ran, waiting for it, cancelling it, running it again."""

from typing import Annotated, Literal

import typer

from factflow_cli import terminal
from factflow_cli.api import Json, path, rows, text
from factflow_cli.command import command, group
from factflow_cli.commands import deletions, replays
from factflow_cli.durations import parse_grace
from factflow_cli.errors import CliError
from factflow_cli.execution_view import (
    LIST_COLUMNS,
    ROUTE_COLUMNS,
    draw_dag,
    draw_execution,
    print_stages,
)
from factflow_cli.exit_codes import ExitCode
from factflow_cli.flow_view import held_by
from factflow_cli.following import wait_and_exit
from factflow_cli.listing import AllOption, show_listing
from factflow_cli.monitoring import watch
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
    "factflow execution list --all --output jsonl | jq -r .execution_id",
)
def list_executions(
    session: Session,
    *,
    status: Annotated[
        str | None, typer.Option("--status", help=f"One of {', '.join(STATUSES)}.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 50,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Rows to pass over.")] = 0,
    everything: AllOption = False,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those too that were deleted.")
    ] = False,
) -> None:
    """List executions, newest first."""
    if status is not None and status not in STATUSES:
        raise CliError(f"there is no status {status!r}", hint=f"one of {', '.join(STATUSES)}")

    def draw(answer: Json, executions: list[Json]) -> None:
        print_table(LIST_COLUMNS, executions)
        print_total(answer, len(executions), "executions")

    show_listing(
        session,
        "/executions",
        "executions",
        draw,
        status=status,
        deleted=deleted or None,
        limit=None if everything else limit,
        offset=offset,
    )


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


@command(
    app,
    "cancel",
    "factflow execution cancel EXECUTION_ID",
    "factflow execution cancel EXECUTION_ID --grace 30s",
)
def cancel(
    session: Session,
    execution_id: ExecutionId,
    grace: Annotated[
        str,
        typer.Option("--grace", help="How long work in flight may take to end; 0 cuts it off."),
    ] = "10s",
) -> None:
    """Cancel an execution; work in flight may end. Cancelling it again changes nothing."""
    seconds = parse_grace(grace)
    answer = session.api.post(
        path("executions", execution_id, "cancel"),
        {"grace_seconds": seconds},
        seconds=seconds + 60,
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


@command(
    app,
    "dag",
    "factflow execution dag EXECUTION_ID",
    "factflow execution dag EXECUTION_ID --format mermaid > pipeline.mmd",
)
def dag(
    session: Session,
    execution_id: ExecutionId,
    form: Annotated[
        Literal["table", "json", "tree", "mermaid", "dot"] | None,
        typer.Option("--format", help="[default: table on a terminal, json otherwise]"),
    ] = None,
) -> None:
    """Show the routes, their stages, and the queues that join them."""
    where = path("executions", execution_id, "dag")
    if form in {"tree", "mermaid", "dot"}:
        with session.api.download(where, format=form) as answer:
            terminal.write_text(terminal.harmless(answer.read().decode("utf-8", "replace")))
        return
    graph = session.api.get(where)
    nodes, edges = rows(graph, "nodes"), rows(graph, "edges")
    if form is not None:
        session.output = form
    session.show(graph, lambda: draw_dag(graph, nodes, edges))


@command(
    app,
    "monitor",
    "factflow execution monitor EXECUTION_ID",
    "factflow execution monitor EXECUTION_ID --once",
)
def monitor(
    session: Session,
    execution_id: ExecutionId,
    once: Annotated[bool, typer.Option("--once", help="Show how it stands now, and end.")] = False,
) -> None:
    """Watch an execution: routes, pace and last failures, until it ends.

    Ctrl+C ends the watching, never the execution. Without a terminal, one snapshot as JSON.
    """
    watch(session, execution_id, once=once)


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
    session.show(answer, lambda: print_table(ROUTE_COLUMNS, found, below=held_by))


replays.add_to(app)
deletions.add_to(app)
