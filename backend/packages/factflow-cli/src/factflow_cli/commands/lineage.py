"""`factflow lineage`: which message went through which stage, how it ended, where it came from."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from factflow_cli import terminal
from factflow_cli.api import path, rows
from factflow_cli.command import command, group
from factflow_cli.errors import unexpected_answer
from factflow_cli.execution_view import print_stages
from factflow_cli.session import Session
from factflow_cli.tables import Column, number, print_facts, print_line, print_table, print_total
from factflow_cli.values import moment, took

app = group("Trace messages through stages, find failures.")

Row = Mapping[str, Any]
LineageId = Annotated[
    str, typer.Argument(metavar="LINEAGE_ID", help="Id of a lineage row, or of a message.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")]
OffsetOption = Annotated[int, typer.Option("--offset", min=0, help="Rows to pass over.")]

LIST_COLUMNS = (
    Column("LINEAGE", "id", whole=True),
    Column("ROUTE", "route_id", keep=4),
    Column("STAGE", "stage"),
    Column("STATUS", "status", whole=True),
    Column("OUTCOME", "outcome", keep=3, whole=True),
    number("TRIES", "attempts", keep=6),
    Column("TOOK", lambda row: took(row.get("duration_ms")), keep=5, whole=True, right=True),
    Column("STARTED", lambda row: moment(row.get("started_at")), keep=7, whole=True),
)


def _error(row: Row, part: str) -> Any:
    error = row.get("error")
    return error.get(part) if isinstance(error, Mapping) else None


@command(
    app,
    "list",
    "factflow lineage list --execution EXECUTION_ID --status failed",
    "factflow lineage list --execution ID --adapter web_scraper --limit 20",
)
def list_rows(
    session: Session,
    *,
    execution: Annotated[
        str | None, typer.Option("--execution", "-e", help="Execution id.")
    ] = None,
    route: Annotated[str | None, typer.Option("--route", help="Route id.")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Stage name.")] = None,
    adapter: Annotated[str | None, typer.Option("--adapter", help="Adapter type.")] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", help="pending, processing, completed, failed or cancelled."),
    ] = None,
    message: Annotated[str | None, typer.Option("--message", help="Message id.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="URL in the metadata.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="Title in the metadata.")] = None,
    error_type: Annotated[
        str | None, typer.Option("--error-type", help="Class of the error.")
    ] = None,
    roots: Annotated[bool, typer.Option("--roots", help="Only rows without a parent.")] = False,
    after: Annotated[
        str | None, typer.Option("--after", help="Started at or after (ISO 8601).")
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", help="Started before (ISO 8601).")
    ] = None,
    order: Annotated[
        Literal["asc", "desc"] | None, typer.Option("--order", help="By start time.")
    ] = None,
    limit: LimitOption = 50,
    offset: OffsetOption = 0,
) -> None:
    """List lineage rows: one per message and stage."""
    answer = session.api.get(
        "/lineage",
        execution_id=execution,
        route_id=route,
        stage=stage,
        adapter=adapter,
        status=status,
        message_id=message,
        url=url,
        title=title,
        error_type=error_type,
        is_root=True if roots else None,
        started_after=after,
        started_before=before,
        sort_order=order,
        limit=limit,
        offset=offset,
    )
    _show_rows(session, answer, "rows")


def _show_rows(session: Session, answer: Row, noun: str, offset: int = 0) -> None:
    entries = rows(answer, "entries")

    def draw() -> None:
        print_table(LIST_COLUMNS, entries)
        print_total({"offset": offset, **answer}, len(entries), noun)

    session.show(answer, draw)


@command(app, "get", "factflow lineage get LINEAGE_ID")
def get(session: Session, lineage_id: LineageId) -> None:
    """Show one row in full: keys, hashes, times, attempts, error."""
    row = session.api.get(path("lineage", lineage_id))
    session.show(row, lambda: _draw_row(row))


def _draw_row(row: Row) -> None:
    readable = {
        **row,
        "started_at": moment(row.get("started_at")),
        "completed_at": moment(row.get("completed_at")),
        "duration_ms": took(row.get("duration_ms")),
    }
    facts: list[tuple[str, Any]] = [
        (name.removesuffix("_ms").replace("_", " "), value)
        for name, value in readable.items()
        if name not in {"error", "metadata"}
    ]
    extra = row.get("metadata")
    if isinstance(extra, Mapping):
        facts += [(f"metadata {name}", value) for name, value in extra.items()]
    if _error(row, "type"):
        facts.append(("error", f"{_error(row, 'type')}: {_error(row, 'message')}"))
    print_facts(facts)
    if _error(row, "traceback"):
        print_line()
        terminal.write_text(terminal.harmless(str(_error(row, "traceback"))).rstrip() + "\n")
    if row.get("input_key"):
        terminal.say(f"next: factflow storage get {row['input_key']}")


@command(app, "chain", "factflow lineage chain LINEAGE_ID")
def chain(
    session: Session,
    lineage_id: LineageId,
    across_replays: Annotated[
        bool, typer.Option("--across-replays", help="Go on into executions that replay this one.")
    ] = False,
) -> None:
    """Show what a message came from and all that came of it."""
    answer = session.api.get(
        path("lineage", lineage_id, "chain"), across_replays=across_replays or None
    )
    entry = answer.get("entry")
    if not isinstance(entry, dict):
        raise unexpected_answer("'entry' is no object")
    ancestors, descendants = rows(answer, "ancestors"), rows(answer, "descendants")
    session.show(answer, lambda: _draw_chain(answer, ancestors, entry, descendants))


def _draw_chain(
    answer: Row, ancestors: Sequence[Row], entry: Row, descendants: Sequence[Row]
) -> None:
    line = _from_the_root(ancestors, entry)
    for depth, row in enumerate(line):
        print_line(_tree_line(row, depth, "  "))
    print_line(_tree_line(entry, len(line), "> "))
    known = {str(row.get("id")) for row in descendants}
    below: dict[str, list[Row]] = {}
    for row in descendants:
        parent = str(row.get("parent_id"))
        below.setdefault(parent if parent in known else str(entry.get("id")), []).append(row)
    seen: set[str] = set()
    pending = [(row, len(line) + 1) for row in reversed(below.get(str(entry.get("id")), []))]
    while pending:
        row, depth = pending.pop()
        row_id = str(row.get("id"))
        if row_id not in seen:
            seen.add(row_id)
            print_line(_tree_line(row, depth, "  "))
            pending += [(child, depth + 1) for child in reversed(below.get(row_id, []))]
    print_line()
    more = ", cut off: there are more" if answer.get("truncated") else ""
    print_line(f"{len(ancestors)} ancestors, {len(descendants)} descendants{more}")


def _from_the_root(ancestors: Sequence[Row], entry: Row) -> list[Row]:
    """Return the ancestors with the oldest first, following `parent_id` up from the entry."""
    by_id = {row.get("id"): row for row in ancestors}
    line: list[Row] = []
    parent = by_id.pop(entry.get("parent_id"), None)
    while parent is not None:
        line.append(parent)
        parent = by_id.pop(parent.get("parent_id"), None)
    return list(reversed(line)) if not by_id else list(ancestors)


def _tree_line(row: Row, depth: int, mark: str) -> str:
    """Return one row of the tree; deep trees stop indenting before they leave the screen."""
    indent = "  " * min(depth, 8)
    failed = f"  {_error(row, 'type')}" if _error(row, "type") else ""
    outcome = row.get("outcome") or row.get("status")
    stage = f"{row.get('route_id')}/{row.get('stage')}"
    return f"{mark}{indent}{row.get('id')}  {stage}  {outcome}{failed}"


@command(app, "batch", "factflow lineage batch BATCH_ID")
def batch(
    session: Session,
    batch_id: Annotated[str, typer.Argument(metavar="BATCH_ID", help="As in a row's batch_id.")],
    limit: LimitOption = 1000,
    offset: OffsetOption = 0,
) -> None:
    """List the rows that one call of a batch adapter handled."""
    answer = session.api.get("/lineage", batch_id=batch_id, limit=limit, offset=offset)
    _show_rows(session, answer, "rows")


@command(app, "children", "factflow lineage children LINEAGE_ID")
def children(
    session: Session, lineage_id: LineageId, limit: LimitOption = 1000, offset: OffsetOption = 0
) -> None:
    """List the rows that a message led to directly."""
    answer = session.api.get(path("lineage", lineage_id, "children"), limit=limit, offset=offset)
    _show_rows(session, answer, "rows", offset)


@command(
    app,
    "failures",
    "factflow lineage failures",
    "factflow lineage failures --execution EXECUTION_ID --limit 20",
)
def failures(
    session: Session,
    execution: Annotated[
        str | None, typer.Option("--execution", "-e", help="Only of this execution.")
    ] = None,
    limit: LimitOption = 50,
    offset: OffsetOption = 0,
) -> None:
    """List the most recent failures, of all executions or one."""
    answer = session.api.get(
        "/lineage/failures", execution_id=execution, limit=limit, offset=offset
    )
    entries = rows(answer, "entries")
    columns = (
        Column("LINEAGE", "id", whole=True),
        Column("ROUTE", "route_id", keep=2),
        Column("STAGE", "stage"),
        Column("ERROR", lambda row: _error(row, "type"), keep=0),
        Column("MESSAGE", lambda row: _error(row, "message"), keep=3),
        Column("ADAPTER", "adapter", keep=5),
        Column("ENDED", lambda row: moment(row.get("completed_at")), keep=4, whole=True),
        Column("EXECUTION", "execution_id", keep=6, whole=True),
    )

    def draw() -> None:
        print_table(columns, entries)
        print_total(answer, len(entries), "failures")
        if entries:
            terminal.say(f"next: factflow lineage chain {entries[0].get('id')}")

    session.show(answer, draw)


@command(app, "stats", "factflow lineage stats --execution EXECUTION_ID")
def stats(
    session: Session,
    execution: Annotated[str, typer.Option("--execution", "-e", help="Execution id.")],
) -> None:
    """Count messages per route and adapter."""
    answer = session.api.get("/lineage/stats", execution_id=execution)
    stages = rows(answer, "stages")
    session.show(answer, lambda: print_stages(stages))
