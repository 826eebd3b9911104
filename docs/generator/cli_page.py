"""The page of all commands, made from the program's own tree."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import typer

from factflow_cli.app import app
from factflow_cli.command import _GLOBAL as EVERYWHERE
from factflow_cli.server_address import DEFAULT_SERVER, SERVER_VARIABLE

WIDTH = 110
HEAD = f"""# Commands

<!-- Made by `make docs` from the program itself; edit the program. -->

`factflow COMMAND --help` tells the same in the terminal. What each exit code means stands in
[exit codes](exit-codes.md); a command's own are told with it. Without `--server` the environment's
`{SERVER_VARIABLE}` names the server, else it is `{DEFAULT_SERVER}`.
"""


def cli_page() -> str:
    """Return the page as markdown."""
    top = _program()
    parts = [HEAD, "## Options of every command\n", _options(_shared(top))]
    parts += [_example(top)]
    for name, command in top.commands.items():
        parts += _sections(f"factflow {name}", command, level=2)
    return "\n".join(parts).rstrip() + "\n"


@functools.cache
def _program() -> Any:
    """Return the tree of commands, which takes long to make."""
    return typer.main.get_command(app)


def _sections(name: str, command: Any, level: int) -> Iterator[str]:
    yield f"{'#' * level} {name}\n"
    if getattr(command, "commands", None):
        yield _text(command.help)
        for own, inner in command.commands.items():
            yield from _sections(f"{name} {own}", inner, level + 1)
        return
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"```text\n{_spelled(usage)}\n```\n"
    yield _text(command.help)
    yield _options([p for p in command.params if p.name not in EVERYWHERE and not p.hidden])
    yield _example(command)


def _shared(top: Any) -> list[Any]:
    return [parameter for parameter in top.params if not parameter.hidden]


def _options(parameters: list[Any]) -> str:
    shown = [p for p in parameters if p.name != "help"]
    if not shown:
        return ""
    lines = ["| name | meaning | default |", "| --- | --- | --- |"]
    lines += [f"| {_name(p)} | {_cell(p.help or '')} | {_default(p)} |" for p in shown]
    return "\n".join(lines) + "\n"


def _name(parameter: Any) -> str:
    """How the help writes it: `-f, --file FILE`."""
    context = typer.Context(_program(), info_name="factflow")
    if parameter.param_type_name == "argument":
        said = " ".join(parameter.get_usage_pieces(context))
    else:
        said = parameter.get_help_record(context)[0]
    return f"`{_spelled(said)}`".replace("|", "\\|")


def _spelled(usage: str) -> str:
    """Typer's braces and types as people know them: `TEXT` for `<str>`, `FILE` for `{FILE}`."""
    usage = re.sub(r"<(?:int|float)(?: range)?>", "N", usage).replace("<str>", "TEXT")
    return re.sub(r"\{(\w+)\}|<([\w|-]+)>", lambda found: found[1] or found[2], usage)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or callable(value):
        return ""
    return f"`{'on' if value is True else value}`"


def _text(text: str | None) -> str:
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(textwrap.fill(_words(part), WIDTH) for part in paragraphs) + "\n"


def _words(text: str) -> str:
    return " ".join(text.replace("*", "\\*").split())


def _cell(text: str) -> str:
    return _words(text).replace("|", "\\|")


def _example(command: Any) -> str:
    """The examples its help ends with, as a block that can be copied."""
    shown = str(command.epilog or "").replace("\b", "").partition("Exit codes:")[0]
    _, _, examples = shown.partition(":\n")
    return f"```sh\n{textwrap.dedent(examples).strip()}\n```\n" if examples.strip() else ""
