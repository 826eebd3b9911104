"""`factflow adapters`: what a pipeline's stages can be made of."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import path, rows
from factflow_cli.command import command, group
from factflow_cli.session import Session
from factflow_cli.tables import Column, print_facts, print_line, print_table

app = group("Show the adapters a server knows.")

LIST_COLUMNS = (
    Column("TYPE", "type", whole=True),
    Column("DESCRIPTION", "description", keep=1, wraps=True),
    Column("FROM", "distribution", keep=2),
    Column("CHANGED", lambda row: "on disk" if row.get("changed_on_disk") else "", keep=3),
)


@command(app, "list", "factflow adapters list")
def list_adapters(session: Session) -> None:
    """List every adapter type."""
    answer = session.api.get("/adapters")
    found = rows(answer, "adapters")

    def draw() -> None:
        changed = any(adapter.get("changed_on_disk") for adapter in found)
        print_table(LIST_COLUMNS if changed else LIST_COLUMNS[:-1], found)
        print_line()
        print_line(f"{len(found)} adapter{'s' if len(found) != 1 else ''}")
        broken = answer.get("broken")
        for adapter in broken if isinstance(broken, list) else ():
            if isinstance(adapter, Mapping):
                terminal.say(f"cannot be loaded: {adapter.get('type')}: {adapter.get('error')}")

    session.show(answer, draw)


@command(app, "show", "factflow adapters show web_scraper")
def show(
    session: Session,
    adapter_type: Annotated[str, typer.Argument(metavar="TYPE", help="Adapter type, as in YAML.")],
) -> None:
    """Show one adapter and the fields of its config."""
    adapter = session.api.get(path("adapters", adapter_type))
    session.show(adapter, lambda: _draw(adapter))


def _draw(adapter: Mapping[str, Any]) -> None:
    print_facts(
        [
            ("type", adapter.get("type")),
            ("description", adapter.get("description")),
            ("version", adapter.get("version")),
            ("from", adapter.get("distribution")),
            ("module", adapter.get("module")),
            (
                "changed on disk",
                "yes, restart the server" if adapter.get("changed_on_disk") else "",
            ),
        ]
    )
    fields = _fields(adapter.get("config_schema"))
    print_line()
    if not fields:
        print_line("no config fields")
        return
    print_table(
        (
            Column("FIELD", "name", whole=True),
            Column("KIND", "kind"),
            Column("DEFAULT", "default"),
            Column("MEANING", "description", keep=1, wraps=True),
        ),
        fields,
    )


def _fields(schema: Any) -> list[dict[str, str]]:
    """Return name, kind, default and meaning of each property of a JSON schema."""
    if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
        return []
    required = schema.get("required")
    needed = set(required) if isinstance(required, list) else set()
    return [
        {
            "name": name,
            "kind": _kind(field),
            "default": "required" if name in needed else _default(field),
            "description": str(field.get("description") or ""),
        }
        for name, field in schema["properties"].items()
        if isinstance(field, Mapping)
    ]


def _kind(field: Mapping[str, Any]) -> str:
    choices = field.get("enum")
    if isinstance(choices, list):
        return "|".join(str(choice) for choice in choices)
    either = field.get("anyOf")
    if isinstance(either, list):
        kinds = (_kind(part) for part in either if isinstance(part, Mapping))
        return "|".join(kind for kind in kinds if kind != "null")
    if "$ref" in field:
        return str(field["$ref"]).rsplit("/", 1)[-1]
    kind = str(field.get("type") or "any")
    items = field.get("items")
    return f"{kind} of {_kind(items)}" if kind == "array" and isinstance(items, Mapping) else kind


def _default(field: Mapping[str, Any]) -> str:
    import json

    return json.dumps(field["default"], ensure_ascii=False) if "default" in field else ""
