"""`factflow run FILE`: check, store, run and wait in one go, with a server of its own if need be."""

import hashlib
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import Api, path, text
from factflow_cli.command import command
from factflow_cli.commands.config import (
    AdaptersOption,
    InitOption,
    KeyOption,
    LoadedCodeOption,
    TagOption,
)
from factflow_cli.config_files import check_by_server, read_config
from factflow_cli.errors import CliError
from factflow_cli.execution_view import draw_execution, suggest_next, without_snapshot
from factflow_cli.exit_codes import ExitCode
from factflow_cli.init_values import parse_init
from factflow_cli.listing import every_row
from factflow_cli.private_server import DATA_DIR, private_server
from factflow_cli.session import Session
from factflow_cli.waiting import exit_as, wait_until_ended


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    command(
        app,
        "run",
        "factflow run pipeline.yaml",
        "factflow run pipeline.yaml --init url=https://example.org/sitemap.xml",
    )(run)


def run(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Pipeline YAML; - reads stdin.")],
    *,
    init: InitOption = None,
    tag: TagOption = None,
    idempotency_key: KeyOption = None,
    loaded_code: LoadedCodeOption = False,
    adapters: AdaptersOption = None,
    allow_private_networks: Annotated[
        bool,
        typer.Option(
            "--allow-private-networks",
            help="Let a private server's adapters fetch from private addresses.",
        ),
    ] = False,
) -> None:
    """Check, store and run a file; wait for its end.

    The exit code says how it ended, as for `factflow execution wait`. Uses the server given, else
    one at the default address, else starts a private one on
    ./.factflow and stops it at the end.
    """
    config_yaml, overrides = read_config(file), parse_init(init or ())
    seconds = session.wait_seconds
    options = ["--adapters", *adapters] if adapters else []
    if allow_private_networks:
        options.append("--allow-private-networks")
    restart = shlex.join(["factflow", "serve", *options])
    with _server(session, options) as (api, check_alive, is_private):
        execution_id = _start(
            api,
            file,
            config_yaml=config_yaml,
            overrides=overrides,
            tag=tag,
            key=idempotency_key,
            loaded_code=loaded_code,
        )
        try:
            ended = wait_until_ended(
                api,
                execution_id,
                seconds=seconds,
                progress=session.shows_progress,
                on_lost=check_alive,
            )
        except (CliError, typer.Exit, KeyboardInterrupt):
            if is_private:
                terminal.say(f"its server stops too; it goes on with: {restart}")
            raise
    session.show(without_snapshot(ended), lambda: draw_execution(ended))
    if not session.wants_json:
        suggest_next(ended, server_stopped=restart if is_private else "")
    exit_as(ended)


@contextmanager
def _server(
    session: Session, options: list[str]
) -> Iterator[tuple[Api, Callable[[], None] | None, bool]]:
    """Yield a client of a server that answers, a check that it lives, and whether it is ours."""
    try:
        session.api.get("/system/health")
    except CliError as error:
        if session.server_is_chosen or error.code != "server_unreachable":
            raise
    else:
        if options:
            terminal.say(
                f"using the server at {session.url}; its own adapters and network rules count"
            )
        yield session.api, None, False
        return
    terminal.say(f"no server answers; starting a private one on {DATA_DIR}")
    with private_server(options) as server:
        terminal.say(f"private server: {server.url} (pid {server.pid})")
        try:
            yield session.open_api(server.url), server.check_alive, True
        finally:
            session.close()
            terminal.say(f"stopping the private server (pid {server.pid})")


def _start(
    api: Api,
    file: str,
    *,
    config_yaml: str,
    overrides: dict[str, Any] | None,
    tag: str | None,
    key: str | None,
    loaded_code: bool,
) -> str:
    """Check, store and run the config; return the new execution's id."""
    source = "stdin" if file == "-" else file
    report = check_by_server(api, config_yaml, source)
    for issue in report["issues"]:
        terminal.say(terminal.issue_line(issue, source))
    if not report["is_valid"]:
        raise CliError(
            f"{source} is not valid, nothing was run",
            hint="correct what is listed above and run it again",
            exit_code=ExitCode.FAILED,
        )
    body = {"config_yaml": config_yaml, "source_type": "api"}
    if file != "-":
        body |= {"source_type": "file", "source_path": file}
    stored = None if key is None else _stored_before(api, config_yaml)
    config_id = stored or text(api.post("/configs", body), "id")
    execution = api.post(
        path("configs", config_id, "run"),
        overrides,
        idempotency_key=key,
        tag=tag,
        loaded_code=loaded_code,
    )
    execution_id = text(execution, "execution_id")
    terminal.say(f"execution {execution_id} of config {config_id}")
    return execution_id


def _stored_before(api: Api, config_yaml: str) -> str | None:
    """Return the id of the oldest config with this text: what a key has started was a run of that one."""
    wanted = hashlib.sha256(config_yaml.encode()).hexdigest()
    same = [row for row in every_row(api, "/configs", "configs") if row["config_hash"] == wanted]
    return text(same[-1], "id") if same else None
