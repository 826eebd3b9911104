"""`factflow lineage audit`: whether lineage and storage agree about an execution."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import path, rows
from factflow_cli.command import command
from factflow_cli.exit_codes import ExitCode
from factflow_cli.session import Session
from factflow_cli.tables import Column, print_facts, print_line, print_table

Row = Mapping[str, Any]
LONGEST_SECONDS = 24 * 3600.0
"""An audit reads every record, a deep one every artefact; it may take as long as that takes."""
GAP_COLUMNS = (
    Column("GAP", "kind", whole=True),
    Column("ROW", "row_id", keep=1, whole=True),
)


@contextmanager
def _busy(session: Session, words: str) -> Iterator[None]:
    if not session.shows_progress:
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True, width=terminal.width(), highlight=False, markup=False),
        transient=True,
    )
    with shown:
        shown.add_task(words, total=None)
        yield


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

    The exit code is 1 while there are gaps.
    """
    with _busy(session, "comparing lineage with storage"):
        if repair:
            answer = session.api.post(
                path("executions", execution, "audit", "repair"),
                {"deep": deep, "limit": limit},
                seconds=LONGEST_SECONDS,
            )
        else:
            answer = session.api.get(
                path("executions", execution, "audit"),
                deep=deep,
                limit=limit,
                seconds=LONGEST_SECONDS,
            )
    gaps = rows(answer, "gaps")
    session.show(answer, lambda: _draw(answer, gaps))
    if answer.get("clean") is not True:
        if not repair and not session.wants_json:
            terminal.say(f"next: factflow lineage audit --execution {execution} --repair")
        raise typer.Exit(ExitCode.FAILED)


def _draw(answer: Row, gaps: Sequence[Row]) -> None:
    counts = answer.get("counts")
    facts: list[tuple[str, Any]] = [
        ("execution", answer.get("execution_id")),
        ("records", answer.get("records")),
        ("artefacts", answer.get("artefacts")),
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
