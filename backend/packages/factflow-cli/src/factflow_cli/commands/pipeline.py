"""`factflow pipeline`: routes across executions: what they do now, pausing and resuming them."""

import getpass
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from factflow_cli.access_token import access_token
from factflow_cli.api import path, rows, text
from factflow_cli.command import command, group
from factflow_cli.durations import parse_moment
from factflow_cli.flow_view import held_by_itself
from factflow_cli.session import Session
from factflow_cli.system_view import draw_route
from factflow_cli.tables import (
    Column,
    number,
    print_facts,
    print_line,
    print_table,
    print_total,
    sentence_lines,
)
from factflow_cli.values import moment

app = group("Look at routes across executions, pause and resume them.")

RouteId = Annotated[str, typer.Argument(metavar="ROUTE", help="Name of a route.")]

ROUTE_COLUMNS = (
    Column("EXECUTION", "execution_id", whole=True),
    Column("ROUTE", "route_id", keep=1),
    Column("STATE", "state", whole=True),
    number("ACTIVE", "in_progress", keep=2),
    number("LIMIT", "concurrency", keep=5),
    number("QUEUED", "queued"),
    number("DELAYED", "delayed", keep=3),
    Column("QUEUE", "queue", keep=4),
)
PAUSE_COLUMNS = (
    Column("PAUSED", "route_id", keep=1),
    Column("SINCE", lambda row: moment(row.get("paused_at")), whole=True),
    Column("UNTIL", lambda row: moment(row.get("until")), whole=True, keep=3),
    Column("BY", "paused_by", keep=2),
    Column("REASON", "reason", wraps=True),
)


@command(app, "list", "factflow pipeline list", "factflow pipeline list --execution EXECUTION_ID")
def list_routes(
    session: Session,
    execution: Annotated[
        str | None, typer.Option("--execution", "-e", help="Only this execution's (id or tag).")
    ] = None,
) -> None:
    """List the routes that run now, what holds them, and the pauses in force."""
    answer = session.api.get("/pipelines", execution_id=execution)
    routes, pauses = rows(answer, "routes"), rows(answer, "pauses")

    def draw() -> None:
        print_table(ROUTE_COLUMNS, routes, below=held_by_itself)
        print_total(answer, len(routes), "routes")
        if pauses:
            print_line()
            ends = any(pause.get("until") for pause in pauses)
            print_table([c for c in PAUSE_COLUMNS if ends or c.header != "UNTIL"], pauses)

    session.show(answer, draw)


@command(
    app,
    "metrics",
    "factflow pipeline metrics embed",
    "factflow pipeline metrics embed --execution EXECUTION_ID",
)
def metrics(
    session: Session,
    route: RouteId,
    execution: Annotated[
        str | None,
        typer.Option("--execution", "-e", help="Only in this one (id or tag), also when it ended."),
    ] = None,
) -> None:
    """Show how fast a route is, how long its stages take, and how many messages fail.

    When no execution runs it, the latest that did is shown.
    """
    answer = session.api.get(path("pipelines", route, "metrics"), execution_id=execution)
    found = rows(answer, "executions")

    def draw() -> None:
        note = answer.get("note")
        for line in sentence_lines(str(note), "") if note else ():
            print_line(line)
        for place, one in enumerate(found):
            if place or note:
                print_line()
            draw_route(one)

    session.show(answer, draw)


@command(
    app,
    "pause",
    "factflow pipeline pause embed",
    'factflow pipeline pause embed --until 2h --reason "the model server moves"',
)
def pause(
    session: Session,
    route: RouteId,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why, for whoever looks at it later.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="When it ends by itself: a time, or a duration like 2h."),
    ] = None,
) -> None:
    """Have a route take no more messages, in all executions, those to come included.

    Messages in hand go on to their end, and its queue keeps filling. The pause outlives restarts of
    the server; factflow pipeline resume ends it, or the time given with --until.
    """
    # Whoever comes with a token is known to the server by the token's name.
    name = None if access_token(session.token_file) else _user()
    body = {"state": "paused", "reason": reason, "requested_by": name}
    if until is not None:
        body["until"] = parse_moment(until).isoformat()
    _set(session, route, body)


@command(app, "resume", "factflow pipeline resume embed")
def resume(session: Session, route: RouteId) -> None:
    """Have a paused route take messages again."""
    _set(session, route, {"state": "running"})


def _set(session: Session, route: str, body: Mapping[str, Any]) -> None:
    answer = session.api.patch(path("pipelines", route), body)
    pause = answer.get("pause")
    facts = (
        ("route", answer.get("route_id")),
        ("is", text(answer, "status")),
        ("until", moment(pause.get("until")) if isinstance(pause, Mapping) else None),
        ("message", answer.get("message")),
    )
    session.show(answer, lambda: print_facts(facts))


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return None
