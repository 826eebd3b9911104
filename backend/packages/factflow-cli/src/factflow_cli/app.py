"""The `factflow` program: global options, command groups, and the one place errors are printed."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from factflow_cli import terminal
from factflow_cli.command import OutputOption, ServerOption, TimeoutOption, TokenFileOption
from factflow_cli.commands import (
    adapters,
    config,
    execution,
    lineage,
    pipeline,
    run,
    selftest,
    serve,
    storage,
    system,
    why,
    worker,
)
from factflow_cli.errors import CliError
from factflow_cli.exit_codes import ExitCode
from factflow_cli.session import Session

EPILOG = """\b
Examples:
  factflow run pipeline.yaml
  factflow serve
  factflow worker
  factflow config create -f pipeline.yaml
  factflow config run ID | jq -r .execution_id | xargs factflow execution wait
  factflow lineage failures --execution ID
  factflow why ID
  factflow execution replay ID --from-stage web_scraper

\b
Exit codes:
  0 done/completed    1 failed or invalid   2 usage            3 cancelled
  4 timeout           5 no server           6 not found        7 refused
  8 server error      9 interrupted         10 not written      11 degraded
  130 Ctrl+C
"""

app = typer.Typer(
    name="factflow",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)
run.register(app)
serve.register(app)
worker.register(app)
why.register(app)
for name, module in {
    "config": config,
    "execution": execution,
    "pipeline": pipeline,
    "storage": storage,
    "lineage": lineage,
    "adapters": adapters,
    "system": system,
    "selftest": selftest,
}.items():
    app.add_typer(module.app, name=name)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        terminal.write_text(f"factflow {version('factflow-cli')}\n")
        raise typer.Exit


@app.callback(epilog=EPILOG)
def factflow(
    context: typer.Context,
    *,
    server: ServerOption = None,
    output: OutputOption = None,
    timeout: TimeoutOption = None,
    token_file: TokenFileOption = None,
    version: Annotated[  # noqa: ARG001  # its callback does the work
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Run YAML pipelines whose every stage is stored and can be run again."""
    context.obj = Session(server=server, output=output, timeout=timeout, token_file=token_file)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(_run())


def _run() -> int:
    """Return the exit code; every error ends here as a sentence, never as a stack trace."""
    try:
        return int(app(standalone_mode=False) or 0)
    except CliError as error:
        terminal.say_error(error.message, error.hint, error.issues)
        return error.exit_code
    except typer.TyperException as error:
        return _usage_error(error)
    except (typer.Abort, KeyboardInterrupt):
        terminal.say("interrupted")
        return ExitCode.INTERRUPTED
    except UnicodeEncodeError:
        terminal.say_error(
            "an argument is not valid UTF-8 text", "check what was typed or piped in"
        )
        return ExitCode.USAGE
    except Exception as error:  # noqa: BLE001  # the last door: a bug must not show its stack
        return _fault(error)


def _fault(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
        lost = terminal.not_written(
            error.strerror or str(error)
        )  # a help text's, which is not ours
        terminal.say_error(lost.message, "make room, and try again")
        return lost.exit_code
    terminal.say_error(
        f"unexpected {type(error).__name__}: {error}",
        "this is a fault of factflow itself; please report it with the command you ran",
    )
    return ExitCode.SERVER_ERROR


def _usage_error(error: typer.TyperException) -> int:
    known = getattr(getattr(error, "ctx", None), "command_path", "factflow")
    terminal.say_error(error.format_message(), f"{known} --help")
    return error.exit_code
