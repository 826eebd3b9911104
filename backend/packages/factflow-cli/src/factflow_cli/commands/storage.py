"""`factflow storage`: the artefacts an execution left, and the records beside them."""

import base64
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import Api, Json, key_path, path, text
from factflow_cli.command import command, group
from factflow_cli.commands import storage_files
from factflow_cli.errors import CliError
from factflow_cli.listing import AllOption, show_listing
from factflow_cli.session import Session
from factflow_cli.tables import Column, print_facts, print_line, print_table, print_total
from factflow_cli.values import moment, size

app = group("List and read stored artefacts and their records.")

COUNT_SECONDS = 3600.0
"""How long an answer may take that counts everything."""

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
    *,
    execution: Annotated[
        str | None, typer.Option("--execution", "-e", help="Objects of this execution (id or tag).")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Objects whose key starts with this.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Rows to pass over.")] = 0,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Go on behind this key, at any length.")
    ] = None,
    everything: AllOption = False,
    count: Annotated[
        bool, typer.Option("--count", help="Count all; of millions that takes a while.")
    ] = False,
) -> None:
    """List stored objects.

    In the table, keys are relative to the execution's folder.
    """
    if not execution and not prefix:
        raise CliError(
            "which objects? give --execution or --prefix",
            hint="factflow storage list --execution EXECUTION_ID",
        )
    show_listing(
        session,
        "/storage/objects",
        "objects",
        lambda answer, objects: _draw_objects(answer, objects, execution),
        execution_id=execution,
        prefix=prefix,
        limit=None if everything else limit,
        offset=offset,
        cursor=cursor,
        count=count or None,
    )


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
    if isinstance(answer.get("total"), int) or not answer.get("has_more"):
        print_total(answer, len(objects), "objects")
    else:
        print_line()
        print_line(f"{len(objects)} objects and more: --cursor {answer.get('next_cursor')}")
    if folder:
        execution_id = folder.removeprefix("executions/").rstrip("/")
        terminal.say(f"next: factflow storage get -e {execution_id} KEY")


@command(
    app,
    "browse",
    "factflow storage browse",
    "factflow storage browse executions/EXECUTION_ID/crawl/",
    "factflow storage browse -e EXECUTION_ID crawl/fetch/ --all --output jsonl",
)
def browse(
    session: Session,
    prefix: Annotated[
        str, typer.Argument(metavar="[PREFIX]", help="Whole path segments; the top without one.")
    ] = "",
    *,
    execution: Annotated[
        str | None,
        typer.Option("--execution", "-e", help="PREFIX is within this execution (id or tag)."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show.")] = 100,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on behind this key.")] = None,
    everything: AllOption = False,
    count: Annotated[
        bool, typer.Option("--count", help="Count to the end, however long that takes.")
    ] = False,
) -> None:
    """Look through the tree of keys, a level at a time.

    Prefixes come with what lies below them; `+` stands behind a number that was not counted to its end.
    """
    show_listing(
        session,
        "/storage/browse",
        "entries",
        _draw_level,
        seconds=COUNT_SECONDS if count else None,
        execution_id=execution,
        prefix=prefix or None,
        limit=None if everything else limit,
        offset=None,
        cursor=cursor,
        count=count or None,
    )


def _draw_level(answer: Json, entries: list[Json]) -> None:
    where = str(answer.get("prefix") or "")
    columns = (
        Column("NAME", lambda row: str(row.get("key") or "").removeprefix(where), whole=True),
        Column("OBJECTS", lambda row: _so_far(row, "objects"), whole=True, right=True),
        Column("RECORDS", lambda row: _so_far(row, "records"), whole=True, right=True, keep=1),
        Column("SIZE", lambda row: size(row.get("size")) + _more(row), whole=True, right=True),
    )
    print_line(f"in {where or 'the store'}")
    print_line()
    print_table(columns, entries)
    if answer.get("has_more"):
        print_line()
        print_line(f"and more: --cursor {answer.get('next_cursor')}")


def _so_far(row: Mapping[str, Any], name: str) -> str:
    return "" if row.get("kind") == "object" else f"{row.get(name)}{_more(row)}"


def _more(row: Mapping[str, Any]) -> str:
    return "" if row.get("complete", True) else "+"


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
    if session.output in {"json", "jsonl"}:
        found = _object_as_json(session.api, key, where)
        session.show(found, lambda: None)
        return
    with session.api.download(f"/storage/objects/{where}") as response:
        if not terminal.is_terminal(sys.stdout):
            for chunk in response.iter_bytes():
                terminal.write_bytes(chunk)
                if terminal.reader_is_gone():
                    break
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

    One line of JSON for each when piped; it ends with its reader. Exits with 9 when the execution was
    interrupted by a stop of its server, else with 0, however it ended. Ctrl+C ends the watching only.
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


storage_files.add_to(app)
