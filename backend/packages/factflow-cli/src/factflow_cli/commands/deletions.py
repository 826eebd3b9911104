"""`factflow execution delete`: giving back the disk that executions take."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import path, rows, text
from factflow_cli.command import command
from factflow_cli.durations import parse_duration
from factflow_cli.errors import CliError
from factflow_cli.exit_codes import ExitCode
from factflow_cli.session import Session
from factflow_cli.tables import Column, print_line, print_table
from factflow_cli.values import moment, size

Row = dict[str, Any]

STATUSES = ("completed", "failed", "cancelled")
LONG_POLL_SECONDS = 20
REDRAW_SECONDS = 1


def add_to(app: typer.Typer) -> None:
    """Add the command to the group."""
    command(
        app,
        "delete",
        "factflow execution delete EXECUTION_ID",
        "factflow execution delete --older-than 30d --dry-run",
        "factflow execution delete --status failed,cancelled --yes",
        "factflow execution delete monday tuesday --artefacts-only",
    )(delete)


def delete(
    session: Session,
    execution_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EXECUTION_ID]...", help="Ids of executions, or their tags."),
    ] = None,
    *,
    artefacts_only: Annotated[
        bool, typer.Option("--artefacts-only", help="Keep records and lineage.")
    ] = False,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="DURATION", help="All that ended so long ago: 30d."),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", help="All that ended so: completed,failed,cancelled."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete what executions stored, and give back its space.

    What runs, or is held by a replay, stays and is named. The execution's row stays too and says when it was
    deleted. Waits until all is gone; Ctrl+C ends the waiting alone. Exits with 7 when one that was named
    stays.
    """
    body = _body(execution_ids or [], artefacts_only, older_than, status)
    asks = not (yes or dry_run)
    if asks and not terminal.is_terminal(sys.stdin):
        raise CliError(
            "nobody can be asked here", hint="--yes deletes, --dry-run shows what would go"
        )
    answer = session.api.post("/executions/delete", {**body, "dry_run": dry_run or asks})
    chosen = rows(answer, "executions")
    if asks:
        _draw(answer, chosen)
        if not answer.get("accepted"):
            raise typer.Exit(_code(chosen))
        if not typer.confirm(f"Delete {answer['accepted']} of them?", err=True):
            raise typer.Abort
        answer = session.api.post("/executions/delete", {**body, "dry_run": False})
        chosen = rows(answer, "executions")
    if not dry_run:
        answer["executions"] = chosen = _wait(session, chosen)
    session.show(answer, lambda: _draw(answer, chosen))
    code = _code(chosen)
    if code:
        raise typer.Exit(code)


def _body(ids: list[str], artefacts_only: bool, older_than: str | None, status: str | None) -> Row:
    statuses = [name.strip() for name in (status or "").split(",") if name.strip()]
    for name in statuses:
        if name not in STATUSES:
            raise CliError(
                f"executions cannot be deleted by status {name!r}",
                hint=f"one or more of {','.join(STATUSES)}",
            )
    if not (ids or older_than or statuses):
        raise CliError(
            "which executions? name them, or give --older-than or --status",
            hint="factflow execution delete --older-than 30d --dry-run",
        )
    body: Row = {"execution_ids": ids, "statuses": statuses, "artefacts_only": artefacts_only}
    if older_than is not None:
        body["older_than_seconds"] = parse_duration(older_than)
    return body


def _wait(session: Session, chosen: list[Row]) -> list[Row]:
    """Return the executions with their deletions as they are in the end."""
    going = [row for row in chosen if not row.get("refused")]
    ended: list[Row] = []
    with _bar(session) as tell:
        for row in chosen:
            if row.get("refused"):
                ended.append(row)
                continue
            deletion = _ended(session, text(row, "execution_id"), len(ended), len(going), tell)
            ended.append({**row, "deletion": deletion})
    return ended


def _ended(
    session: Session, execution_id: str, done: int, all_of: int, tell: Callable[[str], None]
) -> Row:
    wait = REDRAW_SECONDS if session.shows_progress else LONG_POLL_SECONDS
    told = ""
    while True:
        deletion = session.api.get(
            path("executions", execution_id, "deletion"), seconds=wait + 30, wait=wait
        )
        if text(deletion, "state") == "deleted":
            return deletion
        trouble = str(deletion.get("trouble") or "")
        if trouble and trouble != told:
            terminal.say(f"waiting: {trouble}")
            told = trouble
        of = f" of {deletion['objects']}" if deletion.get("objects") else ""
        tell(f"{done + 1}/{all_of}: {deletion.get('step')}, {deletion.get('removed')}{of}")


@contextmanager
def _bar(session: Session) -> Iterator[Callable[[str], None]]:
    if not session.shows_progress:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as line:
        task = line.add_task("deleting", total=None)
        yield lambda said: line.update(task, description=said)


def _draw(answer: Row, chosen: list[Row]) -> None:
    columns = (
        Column("EXECUTION", "execution_id", whole=True),
        Column("STATUS", "status", whole=True, keep=2),
        Column("ENDED", lambda row: moment(row.get("completed_at")), whole=True, keep=3),
        Column("RESULT", _result, whole=True),
        Column("FREED", _freed, whole=True, right=True, keep=1),
        Column("TAG", "tag", keep=4),
    )

    def below(row: Any) -> list[str]:
        refused = row.get("refused")
        return [str(refused.get("message"))] if isinstance(refused, dict) else []

    print_table(columns, chosen, below)
    print_line()
    verb = "would go" if answer.get("dry_run") else "deleted"
    print_line(f"{answer.get('accepted')} {verb}, {answer.get('refused')} stay")
    if answer.get("more"):
        print_line("there are more: run the command again for the next ones")


def _result(row: Any) -> str:
    if row.get("refused"):
        return "stays"
    deletion = row.get("deletion")
    if not isinstance(deletion, dict):
        return "would go"
    what = "artefacts " if deletion.get("kind") == "artefacts" else ""
    return f"{what}{deletion.get('state')}"


def _freed(row: Any) -> str:
    deletion = row.get("deletion")
    return size(deletion.get("bytes")) if isinstance(deletion, dict) else ""


def _code(chosen: list[Row]) -> int:
    """A named one that stays is a refusal; others that match stay because they are needed."""
    refused = any(row.get("refused") and row.get("named") for row in chosen)
    return ExitCode.REFUSED if refused else ExitCode.OK
