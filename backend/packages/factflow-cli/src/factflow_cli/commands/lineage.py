"""`factflow lineage`: which message went through which stage, how it ended, where it came from."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from factflow_cli import terminal
from factflow_cli.api import Json, path, rows
from factflow_cli.command import command, group
from factflow_cli.commands import audits
from factflow_cli.durations import point_in_time
from factflow_cli.errors import unexpected_answer
from factflow_cli.execution_view import print_stages
from factflow_cli.lineage_view import (
    LIST_COLUMNS,
    draw_chain,
    draw_failures,
    draw_row,
    print_rows_total,
)
from factflow_cli.listing import AllOption, show_listing
from factflow_cli.session import Session
from factflow_cli.tables import print_table

app = group("Trace messages through stages, find failures.")

Row = Mapping[str, Any]
LineageId = Annotated[
    str, typer.Argument(metavar="LINEAGE_ID", help="Id of a lineage row, or of a message.")
]
STATS_SECONDS = 600
"""How long an answer may take that goes through millions of rows."""
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")]
OffsetOption = Annotated[int, typer.Option("--offset", min=0, help="Rows to pass over.")]


ExecutionOption = Annotated[
    str | None, typer.Option("--execution", "-e", help="Only of this execution.")
]
RouteOption = Annotated[str | None, typer.Option("--route", help="Route id.")]
StageOption = Annotated[str | None, typer.Option("--stage", help="Stage name.")]
AdapterOption = Annotated[str | None, typer.Option("--adapter", help="Adapter type.")]
StatusOption = Annotated[
    str | None,
    typer.Option("--status", help="pending, processing, completed, failed or cancelled."),
]
UrlOption = Annotated[str | None, typer.Option("--url", help="Part of the URL in the metadata.")]
TitleOption = Annotated[str | None, typer.Option("--title", help="Part of the title.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="KEY=VALUE", help="A metadata field has this value."),
]
ErrorOption = Annotated[str | None, typer.Option("--error-type", help="Class of the error.")]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", "--after", help="From this time on: ISO 8601, or 90s, 1h30m ago."),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", "--before", help="Up to this time: ISO 8601, or 1h ago.")
]
CursorOption = Annotated[
    str | None, typer.Option("--cursor", help="Go on behind the page that named it.")
]


@command(
    app,
    "list",
    "factflow lineage list --execution EXECUTION_ID --status failed",
    "factflow lineage list --execution ID --adapter web_scraper --limit 20",
    "factflow lineage list --since 1h --where lang=en",
    "factflow lineage list --execution ID --all --output jsonl | jq -r .id",
)
def list_rows(
    session: Session,
    *,
    execution: ExecutionOption = None,
    route: RouteOption = None,
    stage: StageOption = None,
    adapter: AdapterOption = None,
    status: StatusOption = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="stored, fanned_out, filtered, failed, passed.")
    ] = None,
    message: Annotated[str | None, typer.Option("--message", help="Message id.")] = None,
    url: UrlOption = None,
    title: TitleOption = None,
    where: WhereOption = None,
    error_type: ErrorOption = None,
    roots: Annotated[bool, typer.Option("--roots", help="Only rows without a parent.")] = False,
    since: SinceOption = None,
    until: UntilOption = None,
    order: Annotated[
        Literal["asc", "desc"] | None, typer.Option("--order", help="By start time.")
    ] = None,
    limit: LimitOption = 50,
    offset: OffsetOption = 0,
    cursor: CursorOption = None,
    everything: AllOption = False,
) -> None:
    """List lineage rows: one per message and stage."""
    show_listing(
        session,
        "/lineage",
        "entries",
        _draw_rows,
        execution_id=execution,
        route_id=route,
        stage=stage,
        adapter=adapter,
        status=status,
        outcome=outcome,
        message_id=message,
        url=url,
        title=title,
        where=where or None,
        error_type=error_type,
        is_root=True if roots else None,
        started_after=point_in_time(since),
        started_before=point_in_time(until),
        sort_order=order,
        limit=None if everything else limit,
        offset=offset,
        cursor=cursor,
    )


def _draw_rows(answer: Row, entries: list[Json]) -> None:
    print_table(LIST_COLUMNS, entries)
    print_rows_total(answer, len(entries), "rows")


@command(app, "get", "factflow lineage get LINEAGE_ID")
def get(session: Session, lineage_id: LineageId) -> None:
    """Show one row in full: keys, hashes, times, attempts, error."""
    row = session.api.get(path("lineage", lineage_id))
    session.show(row, lambda: draw_row(row))


@command(
    app, "chain", "factflow lineage chain LINEAGE_ID", "factflow lineage chain LINEAGE_ID --tree"
)
def chain(
    session: Session,
    lineage_id: LineageId,
    *,
    across_replays: Annotated[
        bool, typer.Option("--across-replays", help="Go on into executions that replay this one.")
    ] = False,
    tree: Annotated[
        bool, typer.Option("--tree", help="Draw the tree also when the output is no terminal.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows of the tree to draw.")] = 200,
) -> None:
    """Show what a message came from and all that came of it."""
    answer = session.api.get(
        path("lineage", lineage_id, "chain"), across_replays=across_replays or None
    )
    entry = answer.get("entry")
    if not isinstance(entry, dict):
        raise unexpected_answer("'entry' is no object")
    ancestors, descendants = rows(answer, "ancestors"), rows(answer, "descendants")

    def draw() -> None:
        draw_chain(answer, ancestors, entry, descendants, limit)

    if tree:
        draw()
    else:
        session.show(answer, draw)


@command(app, "batch", "factflow lineage batch BATCH_ID")
def batch(
    session: Session,
    batch_id: Annotated[str, typer.Argument(metavar="BATCH_ID", help="As in a row's batch_id.")],
    limit: LimitOption = 1000,
    offset: OffsetOption = 0,
    *,
    cursor: CursorOption = None,
    everything: AllOption = False,
) -> None:
    """List the rows that one call of a batch adapter handled."""
    show_listing(
        session,
        "/lineage",
        "entries",
        _draw_rows,
        batch_id=batch_id,
        limit=None if everything else limit,
        offset=offset,
        cursor=cursor,
    )


@command(app, "children", "factflow lineage children LINEAGE_ID")
def children(
    session: Session,
    lineage_id: LineageId,
    limit: LimitOption = 1000,
    offset: OffsetOption = 0,
    *,
    cursor: CursorOption = None,
    everything: AllOption = False,
) -> None:
    """List the rows that a message led to directly."""
    show_listing(
        session,
        path("lineage", lineage_id, "children"),
        "entries",
        _draw_rows,
        limit=None if everything else limit,
        offset=offset,
        cursor=cursor,
    )


@command(
    app,
    "failures",
    "factflow lineage failures",
    "factflow lineage failures --execution EXECUTION_ID --limit 20",
    "factflow lineage failures --since 1h --error-type TimeoutError",
)
def failures(
    session: Session,
    *,
    execution: ExecutionOption = None,
    route: RouteOption = None,
    stage: StageOption = None,
    adapter: AdapterOption = None,
    url: UrlOption = None,
    title: TitleOption = None,
    where: WhereOption = None,
    error_type: ErrorOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    offset: OffsetOption = 0,
    cursor: CursorOption = None,
    everything: AllOption = False,
) -> None:
    """List the most recent failures, of all executions or one."""

    def draw(answer: Row, entries: list[Json]) -> None:
        draw_failures(entries)
        print_rows_total(answer, len(entries), "failures")
        if entries:
            terminal.say(f"next: factflow lineage chain {entries[0].get('id')}")

    show_listing(
        session,
        "/lineage/failures",
        "entries",
        draw,
        execution_id=execution,
        route_id=route,
        stage=stage,
        adapter=adapter,
        url=url,
        title=title,
        where=where or None,
        error_type=error_type,
        started_after=point_in_time(since),
        started_before=point_in_time(until),
        limit=None if everything else limit,
        offset=offset,
        cursor=cursor,
    )


@command(
    app,
    "stats",
    "factflow lineage stats --execution EXECUTION_ID",
    "factflow lineage stats --adapter web_scraper",
    "factflow lineage stats --status failed --since 24h",
)
def stats(
    session: Session,
    *,
    execution: ExecutionOption = None,
    route: RouteOption = None,
    stage: StageOption = None,
    adapter: AdapterOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
) -> None:
    """Count messages per route and adapter, in one execution or over all.

    It costs nothing however many rows there are; with --status, --since or --until the rows that match are
    gone through.
    """
    answer = session.api.get(
        "/lineage/stats",
        seconds=STATS_SECONDS,
        execution_id=execution,
        route_id=route,
        stage=stage,
        adapter=adapter,
        status=status,
        started_after=point_in_time(since),
        started_before=point_in_time(until),
    )
    stages = rows(answer, "stages")
    session.show(answer, lambda: print_stages(stages))


audits.add_to(app)
