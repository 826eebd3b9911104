"""`factflow storage export` and `download`: stored objects as plain files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from factflow_cli.api import path, rows, text
from factflow_cli.command import command
from factflow_cli.errors import CliError
from factflow_cli.exit_codes import ExitCode
from factflow_cli.session import Session
from factflow_cli.tables import print_facts, print_line
from factflow_cli.values import moment, size


def add_to(app: typer.Typer) -> None:
    """Add the commands to the group."""
    command(
        app,
        "export",
        "factflow storage export --execution EXECUTION_ID --output-dir out",
        "factflow storage export --output-dir everything",
    )(export)
    command(
        app,
        "download",
        "factflow storage download EXECUTION_ID --output-dir out",
        "factflow storage download EXECUTION_ID --output-dir out --route crawl",
        "factflow storage download EXECUTION_ID --output-dir out --stage fetch",
    )(download)


def export(
    session: Session,
    *,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", help="Folder to write to; made when it is missing.")
    ],
    execution: Annotated[
        str | None,
        typer.Option("--execution", "-e", help="Only what this one left (id or tag)."),
    ] = None,
) -> None:
    """Write stored objects and their records out as plain files.

    They lie as a server's plain storage does, and the folder can be opened as file://. What is there
    already is left alone, so that an export that broke off goes on. Exits with 1 when a record could
    not be read and was left out.
    """
    from factflow_cli.plain_files import PlainFiles

    files = PlainFiles(output_dir)
    with (
        _progress(session) as progress,
        session.api.download("/storage/archive", execution_id=execution) as response,
    ):
        done = files.unpack(response.iter_bytes(), progress)
    result = {"output_dir": str(output_dir.absolute()), **asdict(done)}
    session.show(result, lambda: _draw_export(result))
    if done.left_out_count:
        raise typer.Exit(ExitCode.FAILED)


def _draw_export(result: dict[str, Any]) -> None:
    left_out, missing = result["left_out_count"], result["missing_count"]
    print_facts(
        [
            ("written to", result["output_dir"]),
            ("objects", result["objects"]),
            ("records", result["records"]),
            ("files written", f"{result['written']} ({size(result['bytes'])})"),
            ("there already", result["present"]),
            ("left out", f"{left_out} records that cannot be read" if left_out else None),
            ("missing", f"{missing} artefacts that records name" if missing else None),
        ]
    )
    for key in [*result["left_out"], *result["missing"]]:
        print_line(f"- {key}")


def download(
    session: Session,
    execution_id: Annotated[
        str, typer.Argument(metavar="EXECUTION_ID", help="Id of an execution, or its tag.")
    ],
    *,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", help="Folder to write to; made when it is missing.")
    ],
    route: Annotated[str | None, typer.Option("--route", help="Just this route.")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Just this stage.")] = None,
) -> None:
    """Download what an execution stored, as ROUTE/STAGE/MESSAGE.

    Files have their names once they are whole, and what is there already is left alone: a download that
    broke off goes on when it is started again. Exits with 1 when an artefact is missing.
    """
    from factflow_cli.plain_files import PlainFiles

    execution = session.api.get(path("executions", execution_id))
    gone = execution.get("deletion")
    if isinstance(gone, dict):
        when = moment(gone.get("deleted_at") or gone.get("requested_at"))
        raise CliError(
            f"the artefacts of execution {execution_id} were deleted on {when}",
            hint=f"factflow execution get {execution_id}",
            exit_code=ExitCode.REFUSED,
            code="execution_deleted",
        )
    below = f"executions/{text(execution, 'execution_id')}/"
    files = PlainFiles(output_dir, below)
    total = _total(session, below, route, stage) if session.shows_progress else None
    with (
        _progress(session, total) as progress,
        session.api.download(
            "/storage/archive",
            execution_id=text(execution, "execution_id"),
            route=route,
            stage=stage,
        ) as response,
    ):
        done = files.unpack(response.iter_bytes(), progress)
    result = {"output_dir": str(output_dir.absolute()), **asdict(done)}
    session.show(result, lambda: _draw_export(result))
    if done.left_out_count or done.missing_count:
        raise typer.Exit(ExitCode.FAILED)


def _total(session: Session, below: str, route: str | None, stage: str | None) -> int | None:
    """Return how many files will come, None where that cannot be told at once."""
    if stage is not None and route is None:
        return None
    prefix = below + "".join(f"{name}/" for name in (route, stage) if name)
    answer = session.api.get("/storage/browse", prefix=prefix, limit=1000)
    entries = rows(answer, "entries")
    if answer.get("has_more") or not all(entry.get("complete") for entry in entries):
        return None
    return sum(int(entry["objects"]) + int(entry["records"]) for entry in entries)


@contextmanager
def _progress(session: Session, total: int | None = None) -> Iterator[Callable[[Any], None]]:
    """What to tell how far an archive is unpacked: a line that moves on a terminal, nothing elsewhere."""
    if not session.shows_progress:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as line:
        task = line.add_task("waiting", total=None)

        def tell(done: Any) -> None:
            count = done.objects + done.records
            of = f" of {total}" if total else ""
            line.update(task, description=f"{count}{of} files, {size(done.bytes)}")

        yield tell
