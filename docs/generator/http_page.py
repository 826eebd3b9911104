"""The page of all endpoints, made from the server's OpenAPI document."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Schema = Mapping[str, Any]

HEAD = """# Endpoints

<!-- Made by `make docs` from the OpenAPI document; edit the server. -->

Every endpoint with its parameters, the fields of its body, and how it answers. What they are for, pages and
errors are told in the [HTTP API](http-api.md); `/openapi.json` has all of this for machines.
"""
METHODS = ("get", "post", "put", "patch", "delete")


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of a server with default settings."""
    from factflow_server.app import create_app
    from factflow_server.container import open_container
    from factflow_server.settings import ServerSettings

    async def ask(folder: str) -> dict[str, Any]:
        async with open_container(ServerSettings(data_dir=Path(folder) / "data")) as container:
            return create_app(container).openapi()

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(ask(folder))


def http_page(document: Schema) -> str:
    """Return the page as markdown: groups and paths in the document's order."""
    groups: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                group = (operation.get("tags") or ["other"])[0]
                shared = item.get("parameters", [])
                section = _endpoint(document, f"{method.upper()} {path}", operation, shared)
                groups.setdefault(str(group), []).append(section)
    parts = [HEAD]
    for group, sections in groups.items():
        parts += [f"## {group}\n", *sections]
    return "\n".join(parts).rstrip() + "\n"


def _endpoint(document: Schema, title: str, operation: Schema, shared: list[Schema]) -> str:
    parts = [f"### `{title}`\n"]
    said = operation.get("description") or operation.get("summary")
    if said:
        parts.append(f"{_words(said.partition(chr(12))[0])}\n")
    parameters = [_resolved(document, p) for p in [*shared, *operation.get("parameters", [])]]
    if parameters:
        parts.append(_table(("parameter", "in", "kind", "meaning"), map(_parameter, parameters)))
    body = _resolved(document, operation.get("requestBody", {}))
    for content in list(body.get("content", {}).values())[:1]:
        fields = list(_fields(document, content.get("schema", {})))
        parts.append(_table(("field", "kind", "meaning"), fields) if fields else "A JSON body.\n")
    answers = [_answer(document, *pair) for pair in operation.get("responses", {}).items()]
    parts.append(_table(("status", "answer", "when"), answers))
    return "\n".join(parts)


def _table(heads: tuple[str, ...], rows: Any) -> str:
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _parameter(parameter: Schema) -> tuple[str, ...]:
    schema = parameter.get("schema", {})
    told = _words(parameter.get("description") or schema.get("description") or "")
    needed = " (required)" if parameter.get("required") and parameter.get("in") != "path" else ""
    name, place = str(parameter["name"]), str(parameter["in"])
    return f"`{name}`{needed}", place, _kind(schema), told


def _fields(document: Schema, schema: Schema) -> Iterator[tuple[str, ...]]:
    """Yield the fields of the object, also where null is allowed in its place."""
    found = _resolved(document, schema)
    for part in found.get("anyOf", []):
        yield from _fields(document, part)
    needed = found.get("required", [])
    for name, field in found.get("properties", {}).items():
        told = _words(field.get("description") or "")
        yield f"`{name}`{' (required)' if name in needed else ''}", _kind(field), told


def _answer(document: Schema, status: str, response: Schema) -> tuple[str, ...]:
    found = _resolved(document, response)
    kinds = [_kind(c.get("schema", {})) or name for name, c in found.get("content", {}).items()]
    return f"`{status}`", ", ".join(kinds), _words(found.get("description") or "")


def _kind(schema: Schema) -> str:
    """Name what a schema allows: `string`, `A or B`, `list of A`, a model's name; limits and default."""
    if "$ref" in schema:
        kind = f"`{schema['$ref'].rpartition('/')[2]}`"
    elif "anyOf" in schema or "oneOf" in schema:
        either = (_kind(part) for part in schema.get("anyOf") or schema["oneOf"])
        kind = " or ".join(dict.fromkeys(part for part in either if part != "null"))
    elif "enum" in schema or "const" in schema:
        kind = ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    elif schema.get("type") == "array":
        kind = f"list of {_kind(schema.get('items', {})) or 'any'}"
    else:
        kind = str(schema.get("format") or schema.get("type") or "")
    low, high, default = schema.get("minimum"), schema.get("maximum"), schema.get("default")
    limits = f"{low} to {high}" if high is not None else f"from {low}" if low is not None else ""
    more = [limits, "" if default is None else f"default {default}"]
    return ", ".join([kind, *filter(None, more)])


def _resolved(document: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


def _words(text: str) -> str:
    return " ".join(str(text).split()).replace("<", "&lt;")
