"""The server package's own commands: `serve`, `worker` and `validate`.

Exit codes: 0 fine, 1 a pipeline is invalid (`validate`), 2 cannot start or bad usage, 3 the data folder
or the database belongs to a live server.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from factflow_foundation import interpreter
from factflow_protocols.errors import FactflowError

if TYPE_CHECKING:
    from factflow_server.settings import ServerSettings
    from factflow_server.settings_file import SettingsFile

EXIT_INVALID = 1
EXIT_REFUSED = 2
EXIT_LOCKED = 3
LOCKED = frozenset({"data_dir_locked", "database_locked"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except FactflowError as error:
        print(f"factflow: error: {error.message}", file=sys.stderr)  # noqa: T201 - this is the terminal
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201 - this is the terminal
        return EXIT_LOCKED if error.code in LOCKED else EXIT_REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m factflow_server",
        description="The Factflow server. Every option of serve has an environment variable and a key in "
        "factflow.toml: --data-dir is FACTFLOW_DATA_DIR and data_dir, and so on.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the server until SIGINT or SIGTERM")
    serve.add_argument(
        "--embedded", action="store_true", help="queue, databases and storage in one folder"
    )
    serve.add_argument(
        "--no-work",
        dest="work",
        action="store_false",
        default=None,
        help="leave messages to workers",
    )
    serve.add_argument(
        "--private",
        action="store_true",
        help="for a client of one's own: on loopback, without tokens, whatever the settings say",
    )
    serve.add_argument("--data-dir", type=Path, help="that folder (default ./.factflow)")
    serve.add_argument(
        "--database-url",
        help="postgresql://USER@HOST/DATABASE for all tables (default: files in the data "
        "folder); a password here can be seen by other users of the machine",
    )
    serve.add_argument(
        "--host", help="address to listen on (default 127.0.0.1); beyond loopback with tokens only"
    )
    serve.add_argument(
        "--api-tokens-file", type=Path, help="file of access tokens: name:scope:token in each line"
    )
    serve.add_argument(
        "--allowed-host",
        dest="allowed_hosts",
        action="append",
        metavar="NAME",
        help="name or address that clients may call the server by",
    )
    serve.add_argument("--port", type=int, help="port to listen on, 0: any free (default 8000)")
    serve.add_argument("--pipelines", type=Path, help="folder of pipelines to validate at start")
    serve.add_argument("--max-concurrent-executions", type=int, help="default 12")
    serve.set_defaults(command=_serve)
    worker = commands.add_parser("worker", help="take messages of executions that servers own")
    worker.add_argument("--database-url", help="as the servers have it")
    worker.add_argument(
        "--routes",
        nargs="+",
        action="extend",
        metavar="ROUTE",
        help="routes whose messages it takes (default: all)",
    )
    worker.add_argument(
        "--concurrency", type=int, help="of each route (default: as each pipeline says)"
    )
    worker.set_defaults(command=_work, private=False)
    for command in (serve, worker):
        _add_what_both_have(command)
    validate = commands.add_parser("validate", help="validate pipeline files without a server")
    validate.add_argument("files", nargs="+", type=Path, metavar="FILE")
    validate.add_argument("--output", choices=["text", "json"], default="text")
    validate.set_defaults(command=_validate)
    for command in (serve, worker, validate):
        command.add_argument(
            "--adapters",
            nargs="+",
            action="extend",
            metavar="MODULE",
            help="modules with adapters of your own",
        )
    return parser


def _add_what_both_have(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--settings", type=Path, help="file of settings (default ./factflow.toml, if it is there)"
    )
    command.add_argument(
        "--allow-private-networks",
        action="store_true",
        default=None,
        help="let adapters fetch from private and loopback addresses",
    )
    command.add_argument(
        "--durability", choices=["os", "fsync"], help="fsync also survives power loss (default os)"
    )
    command.add_argument(
        "--storage-uri",
        help="file://PATH, packed://PATH or s3://BUCKET/PREFIX (default: storage/ in the data folder)",
    )
    command.add_argument("--log-level", choices=["debug", "info", "warning", "error"])


def _settings(options: argparse.Namespace) -> ServerSettings:
    """Return the settings: what was given on the command line, else the environment, else the file."""
    from factflow_server.settings import ServerSettings, ServerStartError
    from factflow_server.settings_file import find_settings_file, read_settings_file

    names = ServerSettings.model_fields
    given: dict[str, Any] = {
        name: value for name, value in vars(options).items() if name in names and value is not None
    }
    if options.private:
        given |= {"host": "127.0.0.1", "api_tokens": None, "api_tokens_file": None}
    path = find_settings_file(options.settings)
    file = None if path is None else read_settings_file(path, names)
    try:
        return ServerSettings.told(given, {} if file is None else file.values)
    except ValidationError as error:
        problems = "; ".join(_problem(problem, given, file) for problem in error.errors())
        raise ServerStartError(
            f"settings are invalid: {problems}",
            hint="python -m factflow_server serve --help, or worker --help; the same names as FACTFLOW_… "
            "variables, and in factflow.toml",
        ) from None  # it would repeat what was given, secrets too


def _problem(problem: Any, given: Mapping[str, Any], file: SettingsFile | None) -> str:
    """Return what is wrong with a setting, and who said it; not what was said."""
    name = str(problem["loc"][0])
    message = problem["msg"].removeprefix("Value error, ")
    place = ""
    if file is not None and name in file.values and name not in given:
        variable = f"FACTFLOW_{name}".upper()
        if variable not in {key.upper() for key in os.environ}:
            place = f"{file.place(name)}: "
    return f"{place}{'.'.join(map(str, problem['loc']))}: {message}"


def _serve(options: argparse.Namespace) -> int:
    interpreter.start()
    from factflow_server.settings import ServerStartError

    if not options.embedded:
        raise ServerStartError(
            "this version runs embedded only: queue, databases and storage in one folder",
            hint="python -m factflow_server serve --embedded",
        )
    settings = _settings(options)
    from factflow_server.startup import serve

    return serve(settings)


def _work(options: argparse.Namespace) -> int:
    interpreter.start()
    settings = _settings(options)
    from factflow_server.worker_process import work

    return work(settings)


def _validate(options: argparse.Namespace) -> int:
    from factflow_server.validation import validate_files

    reports = validate_files(options.files, options.adapters or ())
    print(reports.as_json() if options.output == "json" else reports.as_text())  # noqa: T201 - the answer
    return 0 if reports.is_valid else EXIT_INVALID
