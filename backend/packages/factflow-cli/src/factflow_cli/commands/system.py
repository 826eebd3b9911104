"""`factflow system`: is the server well, and what takes the space?"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from factflow_cli.api import rows, text
from factflow_cli.command import command, group
from factflow_cli.durations import format_duration
from factflow_cli.exit_codes import ExitCode
from factflow_cli.server_address import shown
from factflow_cli.session import Session
from factflow_cli.tables import Column, print_facts, print_line, print_table, print_total
from factflow_cli.values import moment, size

app = group("Look after the server.")

SHORT_WAIT_SECONDS = 5
WAIT_SECONDS = 60
"""How long an answer may wait for counts."""

COLUMNS = (
    Column("COMPONENT", "name", whole=True),
    Column("STATUS", "status", whole=True),
    Column("MESSAGE", "message", wraps=True),
)


@command(app, "health", "factflow system health", "factflow system health --debug")
def health(
    session: Session,
    debug: Annotated[
        bool, typer.Option("--debug", help="Components that are well speak too, in full.")
    ] = False,
) -> None:
    """Show whether the server and its parts are well.

    Exits with 8 when it is unhealthy.
    """
    answer = session.api.get("/system/health")
    status = text(answer, "status")
    components = rows(answer, "components")
    session.show(answer, lambda: _draw(session, answer, components, debug))
    if status == "unhealthy":
        raise typer.Exit(ExitCode.SERVER_ERROR)


def _draw(
    session: Session,
    answer: Mapping[str, Any],
    components: list[dict[str, Any]],
    debug: bool,
) -> None:
    uptime = answer.get("uptime_seconds")
    print_facts(
        [
            ("status", answer.get("status")),
            ("server", shown(session.url)),
            ("version", answer.get("version")),
            ("up for", format_duration(uptime) if isinstance(uptime, int | float) else ""),
            ("data in", answer.get("data_dir")),
        ]
    )
    print_line()
    print_table(COLUMNS, components)
    for component in components if debug else ():
        if component.get("message"):
            print_line()
            print_line(f"{component.get('name')}: {component['message']}")


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
    session.show(answer, lambda: _draw_storage(answer, executions, databases))


def _draw_storage(
    answer: Mapping[str, Any], executions: list[dict[str, Any]], databases: list[dict[str, Any]]
) -> None:
    columns = (
        Column("EXECUTION", "execution_id", whole=True),
        Column("SIZE", lambda row: size(row.get("disk_bytes")), whole=True, right=True),
        Column("OBJECTS", "objects", whole=True, right=True, keep=2),
        Column("STATUS", "status", whole=True, keep=1),
        Column("ENDED", lambda row: moment(row.get("completed_at")), whole=True, keep=4),
        Column("HELD BY", lambda row: ", ".join(row.get("held_by") or ()), keep=5),
        Column("TAG", "tag", keep=6),
        Column("COUNTED", lambda row: moment(row.get("counted_at")), whole=True, keep=7),
    )
    free, total = size(answer.get("disk_free")), size(answer.get("disk_total"))
    kind = "packed" if answer.get("kind") == "packed" else "plain files"
    print_facts(
        [
            ("disk", f"{free} free of {total}"),
            ("executions", f"{size(answer.get('disk_bytes'))}, {kind}"),
            *((str(file.get("name")), size(file.get("disk_bytes"))) for file in databases),
        ]
    )
    print_line()
    print_table(columns, executions)
    print_total(answer, len(executions), "executions")
    if not answer.get("complete"):
        print_line(
            f"still counting: {answer.get('counting')} executions left, "
            f"{answer.get('counting_objects')} objects of the present one so far"
        )
    for hint in answer.get("hints") or ():
        print_line(f"hint: {hint}")
