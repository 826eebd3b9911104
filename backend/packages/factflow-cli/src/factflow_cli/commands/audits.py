"""`factflow lineage audit`: whether lineage and storage agree about an execution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import Json, path, rows
from factflow_cli.command import command
from factflow_cli.errors import CliError
from factflow_cli.event_stream import decoded
from factflow_cli.exit_codes import ExitCode, for_http_status
from factflow_cli.session import Session
from factflow_cli.tables import Column, print_facts, print_line, print_table
from factflow_cli.values import moment

if TYPE_CHECKING:
    from httpx2 import ServerSentEvent

Row = Mapping[str, Any]
STEPS = {"litter": "looking for what no record names", "rows": "making rows again"}
GAP_COLUMNS = (
    Column("GAP", "kind", whole=True),
    Column("ROW", "row_id", keep=1, whole=True),
)


def audit(
    session: Session,
    execution: Annotated[
        str, typer.Option("--execution", "-e", help="Id of an execution, or its tag.")
    ],
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Make rows again from records; delete what no record names."),
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every artefact and compare its SHA-256.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=0, max=1000, help="Gaps to name of each kind.")
    ] = 20,
) -> None:
    """Compare lineage with storage and list the gaps.

    The exit code is 1 while there are gaps. Artefacts that were deleted on purpose are none.
    """
    where = path("executions", execution, "audit")
    if repair:
        stream = session.api.events(f"{where}/repair", {"deep": deep, "limit": limit})
    else:
        stream = session.api.events(where, deep=deep, limit=limit)
    with _progress(session) as tell, stream as events:
        answer = _report(events, tell)
    gaps = rows(answer, "gaps")
    session.show(answer, lambda: _draw(answer, gaps))
    if answer.get("clean") is not True:
        if not repair and not session.wants_json:
            terminal.say(f"next: factflow lineage audit --execution {execution} --repair")
        raise typer.Exit(ExitCode.FAILED)


def _report(events: Iterator[ServerSentEvent], tell: Callable[[Row], None]) -> Json:
    """Return the report at the end of the stream, telling what comes before it."""
    for event in events:
        if not event.data:
            continue
        data = decoded(event.data)
        if event.event == "report":
            return data
        if event.event == "error":
            raise CliError(
                str(data.get("detail")),
                hint=str(data.get("hint") or ""),
                exit_code=for_http_status(int(data.get("status") or 500)),
                code=str(data.get("error_code") or ""),
            )
        tell(data)
    raise CliError(
        "the server ended the audit before it was done",
        hint="try again; is it being stopped?",
        exit_code=ExitCode.UNREACHABLE,
        passing=True,
    )


@contextmanager
def _progress(session: Session) -> Iterator[Callable[[Row], None]]:
    """What to tell how far an audit is: a line that moves on a terminal, nothing elsewhere."""
    if not session.shows_progress:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, width=terminal.width(), highlight=False, markup=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as line:
        task = line.add_task("comparing lineage with storage", total=None)
        yield lambda progress: line.update(task, description=_how_far(progress))


def _how_far(progress: Row) -> str:
    of = f" of {progress['rows']}" if progress.get("rows") else ""
    words = [f"{progress.get('records')}{of} records", f"{progress.get('artefacts')} artefacts"]
    if progress.get("gaps"):
        words.append(f"{progress['gaps']} gaps")
    step = STEPS.get(str(progress.get("step")), "")
    return terminal.one_line(", ".join([*words, *([step] if step else [])]))


def _draw(answer: Row, gaps: Sequence[Row]) -> None:
    counts = answer.get("counts")
    facts: list[tuple[str, Any]] = [
        ("execution", answer.get("execution_id")),
        ("records", answer.get("records")),
        ("artefacts", answer.get("artefacts")),
        ("deleted on purpose", _deleted(answer)),
        ("rows rebuilt", answer.get("rows_rebuilt") or None),
        ("litter deleted", answer.get("litter_deleted") or None),
    ]
    facts += [("note", note) for note in answer.get("notes") or ()]
    if isinstance(counts, Mapping):
        facts += [(str(kind).replace("_", " "), count or None) for kind, count in counts.items()]
    print_facts(facts)
    print_line()
    if gaps:
        print_table(GAP_COLUMNS, gaps, below=_where)
    else:
        print_line("lineage and storage agree" if answer.get("clean") else "gaps are not named")


def _deleted(answer: Row) -> str | None:
    """Return how many artefacts a deletion took, and when."""
    deletion = answer.get("deletion")
    if not isinstance(deletion, Mapping):
        return None
    at = moment(deletion.get("deleted_at"))
    when = (
        f"deleted on {at}" if at else f"being deleted since {moment(deletion.get('requested_at'))}"
    )
    return f"{answer.get('artefacts_deleted')} artefacts, {when}"


def _where(gap: Row) -> list[str]:
    return [str(part) for part in (gap.get("key"), gap.get("detail")) if part]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(
        app,
        "audit",
        "factflow lineage audit --execution EXECUTION_ID",
        "factflow lineage audit --execution EXECUTION_ID --repair",
    )(audit)
