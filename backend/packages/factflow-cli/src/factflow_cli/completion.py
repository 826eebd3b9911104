"""What the shell completes beyond options: ids, tags and names, asked of the server.

A parameter is completed by its name, so that every command has it alike. No server, a slow one or a
strange answer gives no suggestions, and not a word on the terminal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer

from factflow_cli.errors import CliError
from factflow_cli.server_address import DEFAULT_SERVER, SERVER_VARIABLE, server_url

SECONDS = 1.0
"""How long a person at the Tab key waits for the server."""
ROWS = 200
"""How many of the latest are looked through."""

Suggestion = tuple[str, str]


def completer(parameter: str) -> Callable[[typer.Context, str], list[Suggestion]] | None:
    """Return what completes the parameter of this name; None when nothing does."""
    found = _BY_PARAMETER.get(parameter)
    if found is None:
        return None

    def complete(context: typer.Context, incomplete: str) -> list[Suggestion]:
        return [pair for pair in _asked(context, *found) if pair[0].startswith(incomplete)]

    return complete


def _executions(row: Mapping[str, Any]) -> Iterator[Suggestion]:
    about = f"{row.get('status')}, {row.get('config_name')}"
    for name in (row.get("tag"), row.get("execution_id")):
        yield str(name or ""), about


def _configs(row: Mapping[str, Any]) -> Iterator[Suggestion]:
    yield str(row.get("id") or ""), str(row.get("name") or "")


def _routes(row: Mapping[str, Any]) -> Iterator[Suggestion]:
    yield str(row.get("route_id") or ""), str(row.get("state") or "")


def _adapters(row: Mapping[str, Any]) -> Iterator[Suggestion]:
    yield str(row.get("type") or ""), str(row.get("description") or "")


_Source = tuple[str, str, Callable[[Mapping[str, Any]], Iterator[Suggestion]]]
_EXECUTIONS: _Source = ("/executions", "executions", _executions)
_CONFIGS: _Source = ("/configs", "configs", _configs)
_ROUTES: _Source = ("/pipelines", "routes", _routes)
_ADAPTERS: _Source = ("/adapters", "adapters", _adapters)
_BY_PARAMETER: dict[str, _Source] = {
    "execution_id": _EXECUTIONS,
    "execution_ids": _EXECUTIONS,
    "execution": _EXECUTIONS,
    "a": _EXECUTIONS,
    "b": _EXECUTIONS,
    "config_id": _CONFIGS,
    "config": _CONFIGS,
    "route": _ROUTES,
    "route_id": _ROUTES,
    "adapter": _ADAPTERS,
    "adapter_type": _ADAPTERS,
}


def _asked(
    context: typer.Context,
    where: str,
    name: str,
    suggestions: Callable[[Mapping[str, Any]], Iterator[Suggestion]],
) -> list[Suggestion]:
    from factflow_cli.api import Api, rows

    try:
        api = Api(_server(context), answer_seconds=SECONDS)
        try:
            query = {"limit": ROWS} if where in {"/executions", "/configs"} else {}
            found = rows(api.get(where, **query), name)
        finally:
            api.close()
    except (CliError, UnicodeError):
        return []
    pairs = (pair for row in found for pair in suggestions(row) if pair[0].isprintable())
    return [pair for pair in dict(pairs).items() if pair[0]]


def _server(context: typer.Context) -> str:
    """The server that the line typed so far names, else that of the environment."""
    named = [place.params.get("server") for place in (context, context.find_root())]
    return server_url(
        next(filter(None, named), None) or os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER
    )
