"""`factflow storage`: the artefacts an execution left, and the records beside them."""

import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import Api, key_path, path, rows, text
from factflow_cli.command import command, group
from factflow_cli.errors import CliError
from factflow_cli.exit_codes import ExitCode
from factflow_cli.session import Session
from factflow_cli.tables import Column, print_facts, print_line, print_table, print_total
from factflow_cli.values import moment, size

app = group("List and read stored artefacts and their records.")

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="Key of an object, as `storage list` shows it.")
]
ExecutionOption = Annotated[
    str | None,
    typer.Option(
        "--execution", "-e", help="KEY is relative to the folder of this execution (id or tag)."
    ),
]


@command(
    app,
    "list",
    "factflow storage list --execution EXECUTION_ID",
    "factflow storage list --prefix executions/ID/crawl/ --limit 20",
    "factflow storage list --execution ID | jq -r '.objects[].key'",
)
def list_objects(
    session: Session,
    execution: Annotated[
        str | None, typer.Option("--execution", "-e", help="Objects of this execution (id or tag).")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Objects whose key starts with this.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Rows to pass over.")] = 0,
) -> None:
    """List stored objects.

    In the table, keys are relative to the execution's folder.
    """
    if not execution and not prefix:
        raise CliError(
            "which objects? give --execution or --prefix",
            hint="factflow storage list --execution EXECUTION_ID",
        )
    answer = session.api.get(
        "/storage/objects", execution_id=execution, prefix=prefix, limit=limit, offset=offset
    )
    objects = rows(answer, "objects")
    session.show(answer, lambda: _draw_objects(answer, objects, execution))


def _draw_objects(
    answer: dict[str, Any], objects: list[dict[str, Any]], execution: str | None
) -> None:
    keys = [str(found.get("key") or "") for found in objects]
    folder = "/".join(keys[0].split("/")[:2]) + "/" if execution and keys else ""
    if not folder.startswith("executions/") or not all(key.startswith(folder) for key in keys):
        folder = ""
    columns = (
        Column("KEY", lambda row: str(row.get("key") or "").removeprefix(folder), whole=True),
        Column("SIZE", lambda row: size(row.get("size")), whole=True, right=True, keep=1),
        Column("TYPE", "content_type", keep=3),
        Column("WRITTEN", lambda row: moment(row.get("last_modified")), whole=True, keep=2),
    )
    if folder:
        print_line(f"in {folder}")
        print_line()
    print_table(columns, objects)
    print_total(answer, len(objects), "objects")
    if folder:
        execution_id = folder.removeprefix("executions/").rstrip("/")
        terminal.say(f"next: factflow storage get -e {execution_id} KEY")


@command(
    app,
    "get",
    "factflow storage get executions/ID/crawl/fetch/MESSAGE.html > page.html",
    "factflow storage get -e ID crawl/fetch/MESSAGE.html --output json",
)
def get(session: Session, key: KeyArgument, execution: ExecutionOption = None) -> None:
    """Write an object's bytes to stdout, unchanged.

    With --output json its record comes along. On a terminal only text is shown. Text in JSON is
    `content`, anything else `content_base64`.
    """
    key = _full_key(session.api, key, execution)
    where = key_path(key)
    if session.output == "json":
        terminal.write_json(_object_as_json(session.api, key, where))
        return
    with session.api.download(f"/storage/objects/{where}") as response:
        if not terminal.is_terminal(sys.stdout):
            for chunk in response.iter_bytes():
                terminal.write_bytes(chunk)
            return
        data = response.read()
    content = _as_text(data)
    if content is None:
        kind = response.headers.get("content-type", "unknown type")
        raise CliError(
            f"{key} is binary ({kind}, {size(len(data))}) and would garble the terminal",
            hint=f"factflow storage get {key} > FILE",
        )
    terminal.write_text(terminal.harmless(content))
    if content and not content.endswith("\n"):
        terminal.say("")


def _object_as_json(api: Api, key: str, where: str) -> dict[str, Any]:
    with api.download(f"/storage/objects/{where}") as response:
        data = response.read()
    content = _as_text(data)
    body = (
        {"content_base64": base64.b64encode(data).decode()}
        if content is None
        else {"content": content}
    )
    return {
        "key": key,
        "content_type": response.headers.get("content-type"),
        "size": len(data),
        **body,
        "metadata": api.get(f"/storage/metadata/{where}"),
    }


def _as_text(data: bytes) -> str | None:
    """Return the text the bytes are; None when they are none."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


@command(app, "metadata", "factflow storage metadata executions/ID/crawl/fetch/MESSAGE.html")
def metadata(session: Session, key: KeyArgument, execution: ExecutionOption = None) -> None:
    """Show an object's record: who wrote it, when, from what."""
    record = session.api.get(
        f"/storage/metadata/{key_path(_full_key(session.api, key, execution))}"
    )
    session.show(record, lambda: print_facts([(name, _fact(v)) for name, v in record.items()]))


@command(
    app,
    "export",
    "factflow storage export --execution EXECUTION_ID --output-dir out",
    "factflow storage export --output-dir everything",
)
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
    left_out = result["left_out_count"]
    print_facts(
        [
            ("written to", result["output_dir"]),
            ("objects", result["objects"]),
            ("records", result["records"]),
            ("files written", f"{result['written']} ({size(result['bytes'])})"),
            ("there already", result["present"]),
            ("left out", f"{left_out} records that cannot be read" if left_out else None),
        ]
    )
    for key in result["left_out"]:
        print_line(f"- {key}")


@contextmanager
def _progress(session: Session) -> Iterator[Callable[[Any], None]]:
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
            line.update(task, description=f"{count} files, {size(done.bytes)}")

        yield tell


@command(
    app,
    "watch",
    "factflow storage watch --execution EXECUTION_ID",
    "factflow storage watch --execution ID --route crawl | jq -r .key",
)
def watch(
    session: Session,
    *,
    execution: Annotated[str, typer.Option("--execution", "-e", help="Its id or tag.")],
    route: Annotated[str | None, typer.Option("--route", help="Only what this route did.")] = None,
    from_start: Annotated[
        bool,
        typer.Option("--from-start/--new-only", help="Begin with what is stored already, or not."),
    ] = True,
) -> None:
    """Show each outcome as it is stored, until the execution ends.

    One line of JSON for each when piped. Exits with 9 when the execution was interrupted by a stop of
    its server, else with 0, however it ended. Ctrl+C ends the watching only.
    """
    from factflow_cli.watching import watch_storage

    watch_storage(session, execution, route=route, new_only=not from_start)


def _fact(value: Any) -> Any:
    import json

    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _full_key(api: Api, key: str, execution: str | None) -> str:
    """Return the whole key; one that already is whole stays as it is.

    Folders are named after ids, so the server is asked which execution has the id or tag.
    """
    if not execution or key.startswith("executions/"):
        return key
    found = api.get(path("executions", execution))
    return f"executions/{text(found, 'execution_id')}/{key}"
