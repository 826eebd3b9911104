"""How a command is declared: a function over a `Session`, with an example that its help shows.

    @command(app, "get", "factflow config get CONFIG_ID")
    def get(session: Session, config_id: ConfigId) -> None: ...

The options that count for every command (`--server`, `--output`, `--timeout`, `--token-file`) are added to
each, so they may stand before or after its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from factflow_cli.access_token import TOKEN_VARIABLE
from factflow_cli.completion import completer
from factflow_cli.server_address import DEFAULT_SERVER, SERVER_VARIABLE
from factflow_cli.session import Session

ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help=f"Server to talk to [env var: {SERVER_VARIABLE}; default: {DEFAULT_SERVER}]",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Literal["table", "json", "jsonl"] | None,
    typer.Option(
        "--output",
        help="Form of the result; jsonl: a row on each line "
        "[default: table on a terminal, json otherwise]",
    ),
]
TimeoutOption = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        help="How long to wait for an execution or an answer: 90s, 5m, 1h30m",
    ),
]

TokenFileOption = Annotated[
    str | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help=f"File with the server's access token [env var of the token itself: {TOKEN_VARIABLE}]",
        show_default=False,
    ),
]

Command = Callable[..., None]
_GLOBAL = {
    "server": ServerOption,
    "output": OutputOption,
    "timeout": TimeoutOption,
    "token_file": TokenFileOption,
}


def group(help_text: str) -> typer.Typer:
    """Return a group of commands; alone on the command line it prints its help."""
    app = typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_help_when_alone)
    return app


def _help_when_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _completed(parameter: inspect.Parameter) -> inspect.Parameter:
    """Have the shell complete the parameter when its name is one that the server knows values for."""
    complete = completer(parameter.name)
    for info in getattr(parameter.annotation, "__metadata__", ()):
        if complete is not None and info.autocompletion is None:
            info.autocompletion = complete
    return parameter


def command(app: typer.Typer, name: str, *examples: str) -> Callable[[Command], Command]:
    """Register a function of a `Session` and its own parameters as the command `name`."""

    def register(function: Command) -> Command:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = [
            inspect.Parameter(
                option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
            for option, annotation in _GLOBAL.items()
        ]
        context = inspect.Parameter(
            "context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        )

        def call(*, context: typer.Context, **given: Any) -> None:
            session = context.find_object(Session) or Session()
            session.override(**{option: given.pop(option) for option in _GLOBAL})
            try:
                function(session, **given)
            finally:
                session.close()

        parameters = [
            *(_completed(p).replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own),
            *shared,
            context,
        ]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
        call.__annotations__ = {p.name: p.annotation for p in parameters}
        call.__doc__ = function.__doc__
        title = "Example" if len(examples) == 1 else "Examples"
        epilog = "\b\n" + "\n".join([f"{title}:", *(f"  {example}" for example in examples)])
        app.command(
            name,
            epilog=epilog,
            context_settings={"help_option_names": ["--help", "-h"]},
        )(call)
        return function

    return register
