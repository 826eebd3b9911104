"""`factflow system`: is the server well?"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from factflow_cli.api import rows, text
from factflow_cli.command import command, group
from factflow_cli.durations import format_duration
from factflow_cli.exit_codes import ExitCode
from factflow_cli.server_address import shown
from factflow_cli.session import Session
from factflow_cli.tables import Column, print_facts, print_line, print_table

app = group("Look after the server.")

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
