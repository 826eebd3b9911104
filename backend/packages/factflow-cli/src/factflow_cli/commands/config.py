"""`factflow config`: pipeline YAML, checked, stored, versioned and run."""

import sys
from typing import Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import Json, path, text
from factflow_cli.command import command, group
from factflow_cli.config_files import check_files, config_files, read_config
from factflow_cli.errors import CliError
from factflow_cli.execution_view import draw_execution, without_snapshot
from factflow_cli.exit_codes import ExitCode
from factflow_cli.init_values import parse_init
from factflow_cli.listing import show_listing
from factflow_cli.session import Session
from factflow_cli.tables import Column, number, print_facts, print_line, print_table, print_total
from factflow_cli.values import moment

app = group("Check, store, edit and run pipeline configs.")

ConfigId = Annotated[str, typer.Argument(metavar="CONFIG_ID", help="Id of a stored config.")]
ConfigFile = Annotated[
    str, typer.Option("--file", "-f", metavar="FILE", help="Pipeline YAML; - reads stdin.")
]
InitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--init",
        metavar="KEY=VALUE",
        help="Override in the init message; VALUE is JSON if it parses, dots in KEY nest. Repeatable.",
    ),
]
TagOption = Annotated[
    str | None, typer.Option("--tag", help="A name of your own, usable instead of the id.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="Start once for this key: asked again, show the execution that was started.",
    ),
]
LoadedCodeOption = Annotated[
    bool,
    typer.Option(
        "--loaded-code", help="Run although adapter files on disk changed since the server started."
    ),
]

AdaptersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapters",
        metavar="MODULE",
        help="Python module with your adapters, for when no server answers. Repeatable.",
    ),
]

LIST_ROWS = 100
LIST_COLUMNS = (
    Column("CONFIG", "id", whole=True),
    Column("NAME", "name"),
    number("VERSION", "version", keep=2),
    Column("RUNS", lambda row: "yes" if row.get("is_runnable") else "no", keep=1, whole=True),
    Column("ACTIVE", lambda row: "yes" if row.get("is_active") else "no", keep=4, whole=True),
    Column("UPDATED", lambda row: moment(row.get("updated_at")), keep=3, whole=True),
)


@command(
    app,
    "validate",
    "factflow config validate pipeline.yaml",
    "factflow config validate pipelines/ --output json",
)
def validate(
    session: Session,
    source: Annotated[
        str, typer.Argument(metavar="FILE|DIR", help="YAML file, or folder of them.")
    ],
    adapters: AdaptersOption = None,
) -> None:
    """Check a config, or all below a folder.

    Every *.yaml and *.yml file is checked, and all findings are printed at once. Without a server
    the adapters installed here are used. Exits with 1 when a config is invalid.
    """
    reports = check_files(session.api, config_files(source), adapters or ())
    valid = all(report["is_valid"] for report in reports)
    result = {
        "is_valid": valid,
        "error_count": _count(reports, "error"),
        "warning_count": _count(reports, "warning"),
        "files": reports,
    }
    session.show(result, lambda: _draw_reports(reports))
    if not valid:
        raise typer.Exit(ExitCode.FAILED)


def _count(reports: list[dict[str, Any]], severity: str) -> int:
    return sum(issue.get("severity") == severity for r in reports for issue in r["issues"])


def _draw_reports(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        for issue in report["issues"]:
            print_line(terminal.issue_line(issue, str(report["source"])))
        if report["is_valid"]:
            print_line(f"{report['source']}  ok")
    invalid = sum(not report["is_valid"] for report in reports)
    errors, warnings = _count(reports, "error"), _count(reports, "warning")
    print_line()
    print_line(f"{len(reports)} checked, {invalid} invalid; errors: {errors}, warnings: {warnings}")


@command(
    app,
    "create",
    "factflow config create -f pipeline.yaml --name crawl",
    "factflow config create -f - < pipeline.yaml",
)
def create(
    session: Session,
    file: ConfigFile,
    name: Annotated[
        str | None, typer.Option("--name", help="Default: the YAML's own name.")
    ] = None,
) -> None:
    """Store a config. One with errors is stored too, but does not run until it is edited."""
    body: dict[str, Any] = {"config_yaml": read_config(file), "source_type": "api"}
    if file != "-":
        body |= {"source_type": "file", "source_path": file}
    if name is not None:
        body["name"] = name
    _show_stored(session, session.api.post("/configs", body), "created")


@command(app, "list", "factflow config list", "factflow config list --all --limit 20")
def list_configs(
    session: Session,
    *,
    active: Annotated[bool, typer.Option("--active", help="Those in use (the default).")] = False,
    inactive: Annotated[bool, typer.Option("--inactive", help="Only deleted ones.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every one, deleted or not.")] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help=f"Rows to show [default: {LIST_ROWS}; all with --all]"),
    ] = None,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Rows to pass over.")] = 0,
) -> None:
    """List stored configs."""
    if active + inactive + everything > 1:
        raise CliError(
            "--active, --inactive and --all exclude each other", hint="factflow config list --all"
        )
    which = "all" if everything else "false" if inactive else "true"

    def draw(answer: Json, configs: list[Json]) -> None:
        print_table(LIST_COLUMNS, configs)
        print_total(answer, len(configs), "configs")

    if limit is None and not everything:
        limit = LIST_ROWS
    show_listing(session, "/configs", "configs", draw, active=which, limit=limit, offset=offset)


@command(
    app,
    "get",
    "factflow config get CONFIG_ID",
    "factflow config get CONFIG_ID --yaml > pipeline.yaml",
)
def get(
    session: Session,
    config_id: ConfigId,
    yaml: Annotated[bool, typer.Option("--yaml", help="Write the YAML alone, unchanged.")] = False,
) -> None:
    """Show a stored config with its YAML."""
    config = session.api.get(path("configs", config_id))
    if yaml:
        source = text(config, "config_yaml")
        to_person = terminal.is_terminal(sys.stdout)
        terminal.write_text(terminal.harmless(source) if to_person else source)
        return

    def draw() -> None:
        _draw_config(config)
        print_line()
        terminal.write_text(terminal.harmless(str(config.get("config_yaml") or "")).rstrip() + "\n")

    session.show(config, draw)


@command(app, "edit", "factflow config edit CONFIG_ID -f pipeline.yaml")
def edit(
    session: Session,
    config_id: ConfigId,
    file: ConfigFile,
    name: Annotated[str | None, typer.Option("--name", help="Rename it.")] = None,
) -> None:
    """Replace a config's YAML: a new version. What runs already keeps its own snapshot."""
    body = {"config_yaml": read_config(file)}
    if name is not None:
        body["name"] = name
    _show_stored(session, session.api.put(path("configs", config_id), body), "updated")


@command(app, "delete", "factflow config delete CONFIG_ID")
def delete(session: Session, config_id: ConfigId) -> None:
    """Delete a config; its executions keep their snapshots.

    It stays readable: see `factflow config list --inactive`.
    """
    session.api.delete(path("configs", config_id))
    session.show(
        {"id": config_id, "deleted": True}, lambda: print_line(f"deleted config {config_id}")
    )


@command(
    app,
    "run",
    "factflow config run ID --init url=https://example.org/sitemap.xml",
    "factflow config run ID | jq -r .execution_id | xargs factflow execution wait",
    'factflow config run ID --idempotency-key "nightly-$(date +%F)"',
)
def run(
    session: Session,
    config_id: ConfigId,
    *,
    init: InitOption = None,
    tag: TagOption = None,
    idempotency_key: KeyOption = None,
    loaded_code: LoadedCodeOption = False,
) -> None:
    """Start an execution; does not wait for its end."""
    execution = session.api.post(
        path("configs", config_id, "run"),
        parse_init(init or ()),
        idempotency_key=idempotency_key,
        tag=tag,
        loaded_code=loaded_code,
    )
    execution_id = text(execution, "execution_id")
    session.show(without_snapshot(execution), lambda: draw_execution(execution))
    if not session.wants_json:
        terminal.say(f"next: factflow execution wait {execution_id}")


def _show_stored(session: Session, config: dict[str, Any], verb: str) -> None:
    """Print a stored config; what validation found goes to stderr beside it."""
    config_id = text(config, "id")
    session.show(config, lambda: _draw_config(config))
    report = config.get("validation_report")
    issues = report.get("issues") if isinstance(report, dict) else None
    for issue in issues if isinstance(issues, list) else ():
        if isinstance(issue, dict):
            terminal.say(terminal.issue_line(issue, str(config.get("name") or "")))
    if config.get("is_runnable") is False:
        terminal.say(f"{verb}, but it cannot run yet: see the findings above")
        terminal.say(f"hint: factflow config edit {config_id} -f FILE")
    elif not session.wants_json:
        terminal.say(f"{verb}; next: factflow config run {config_id}")


def _draw_config(config: dict[str, Any]) -> None:
    print_facts(
        [
            ("config", config.get("id")),
            ("name", config.get("name")),
            ("description", config.get("description")),
            ("version", config.get("version")),
            ("hash", config.get("config_hash")),
            ("runs", "yes" if config.get("is_runnable") else "no"),
            ("active", "yes" if config.get("is_active") else "no"),
            ("created", moment(config.get("created_at"))),
            ("updated", moment(config.get("updated_at"))),
            ("source", config.get("source_path") or config.get("source_type")),
        ]
    )
