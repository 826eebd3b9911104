"""Pydantic's errors as issues with a code, a YAML path, a line and a way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from factflow_engine.config.issues import ConfigIssue, PathParts, format_path, nearest, shorten
from factflow_engine.config.model_shape import known_keys, secret_values
from factflow_engine.config.models import PipelineGlobalConfig
from factflow_engine.config.secrets import (
    is_bare_reference,
    missing_variables,
    referenced_values,
    resolve_environment,
)
from factflow_engine.config.yaml_document import YamlDocument

MAX_ISSUES = 1000
"""Of one validation: a text can hold more mistakes than anyone would read."""
SHORTEST_SECRET = 4
"""Shorter values are not kept out of messages: replacing them would garble numbers and words."""

_NO_DOCUMENT = YamlDocument(None)
_PIPELINE_CODES = {
    "missing": "E101",
    "too_short": "E101",
    "bad_name": "E109",
    "extra_forbidden": "E110",
    "condition_regex": "E201",
    "condition_value": "E202",
}
_ADAPTER_CODES = {"missing": "E302", "extra_forbidden": "E301"}
_REWORDED = {
    "string_type": "should be a text",
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "dict_type": "should be a block of keys",
    "model_type": "should be a block of keys",
    "model_attributes_type": "should be a block of keys",
    "finite_number": "should be a finite number",
}
_EXAMPLES = {
    "version": 'add: version: "1.0"',
    "routes": "add `routes:` with at least one route",
    "inbound": "add `inbound:` with a `queue:`",
    "queue": "name the queue: `queue: some_name`",
    "adapters": "add `adapters:` with at least one `- type: …`",
    "type": "name the adapter: `type: …`",
    "route": "name the route the first message enters",
    "field": "name the field: `field: url`",
    "operator": "choose one of equals, not_equals, in, contains, matches, exists, gt, lt",
}


def pipeline_issues(error: ValidationError, document: YamlDocument) -> list[ConfigIssue]:
    """Return the issues of a pipeline that is not a `PipelineGlobalConfig`."""
    return [
        _pipeline_issue(details, document)
        for details in _details(error)
        if not (details["type"] == "too_short" and _holds_items(document.data, details["loc"]))
    ]


def _details(error: ValidationError) -> Sequence[Any]:
    """Return what is wrong, without what only follows from it."""
    return [
        details
        for details in error.errors(include_url=False, include_input=False)[:MAX_ISSUES]
        if details["type"] != "default_factory_not_called"
    ]


def _holds_items(data: Any, loc: PathParts) -> bool:
    """Tell whether a list is only too short because pydantic counts its valid items alone."""
    return bool(_value(data, _path(data, loc, missing=False)))


def _pipeline_issue(details: Any, document: YamlDocument) -> ConfigIssue:
    kind, loc = details["type"], details["loc"]
    path = _path(document.data, loc, missing=kind == "missing")
    code = _PIPELINE_CODES.get(kind, "E102")
    if kind == "literal_error" and loc[-1] == "operator":
        code = "E201"
    name = _last_name(path)
    if kind in {"missing", "too_short"}:
        message, suggestion = f"`{name}` is missing or empty", _EXAMPLES.get(name, "")
    elif kind == "extra_forbidden":
        message, suggestion = _unknown_key(PipelineGlobalConfig, path)
    else:
        message = f"`{name}` {_wording(details)}"
        suggestion = _quoting_hint(document, path, kind, details.get("ctx", {}))
    return ConfigIssue("error", code, format_path(path), document.line(path), message, suggestion)


def adapter_config_issues(
    model: type[BaseModel],
    config: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    path: PathParts = (),
    document: YamlDocument = _NO_DOCUMENT,
) -> list[ConfigIssue]:
    """Return what is wrong with an adapter's settings as they are written (E301 to E303).

    References are resolved against `environ`; what depends on a missing variable is left unjudged. What
    variables and secret fields hold is kept out of the messages.
    """
    missing = missing_variables(config, environ)
    stand_ins = {name: f"${{{name}}}" for _, name in missing}
    resolved = resolve_environment(config, {**environ, **stand_ins})
    unresolved = [place for place, _ in missing]
    secrets = [place for place, _ in secret_values(model, config)]
    private = _private_texts(model, config, resolved, environ)
    issues = []
    for details in _model_errors(model, resolved):
        kind = details["type"]
        place = _path(config, details["loc"], missing=kind == "missing")
        if kind not in _ADAPTER_CODES and any(_related(place, other) for other in unresolved):
            continue
        full = (*path, *place)
        message, suggestion = _adapter_wording(model, place, details)
        if kind not in _ADAPTER_CODES:
            if place in secrets:
                message = f"`{_last_name(place)}` is not accepted"
            suggestion = _quoting_hint(document, full, kind, {})
        for value, reference in private.items():
            message = message.replace(value, reference)
        code, line = _ADAPTER_CODES.get(kind, "E303"), document.line(full)
        issues.append(ConfigIssue("error", code, format_path(full), line, message, suggestion))
    return issues


def _model_errors(model: type[BaseModel], resolved: Mapping[str, Any]) -> Sequence[Any]:
    try:
        model.model_validate(resolved)
    except ValidationError as error:
        return _details(error)
    except Exception as error:  # noqa: BLE001 - a user's validator may raise anything
        return [{"type": "raised", "loc": (), "msg": f"{type(error).__name__}: {error}"}]
    return []


def _private_texts(
    model: type[BaseModel],
    config: Mapping[str, Any],
    resolved: Mapping[str, Any],
    environ: Mapping[str, str],
) -> dict[str, str]:
    """Return what must not be shown, each with what is shown in its place."""
    texts = {str(value): "…" for _, value in secret_values(model, resolved)}
    texts |= {value: name for name, value in referenced_values(config, environ).items()}
    return {text: shown for text, shown in texts.items() if len(text) >= SHORTEST_SECRET}


def secret_issues(
    model: type[BaseModel],
    config: Mapping[str, Any],
    *,
    path: PathParts = (),
    document: YamlDocument = _NO_DOCUMENT,
) -> list[ConfigIssue]:
    """Return an E304 for every secret field that is written out instead of referred to."""
    return [
        ConfigIssue(
            "error",
            "E304",
            format_path((*path, *place)),
            document.line((*path, *place)),
            f"`{_last_name(place)}` is a secret and must not be written into the pipeline",
            f"set an environment variable and write ${{{_variable_name(place)}}}",
        )
        for place, value in secret_values(model, config)
        if not is_bare_reference(value)
    ]


def _adapter_wording(model: type[BaseModel], place: PathParts, details: Any) -> tuple[str, str]:
    name = _last_name(place)
    if details["type"] == "missing":
        return f"the required setting `{name}` is missing", f"add `{name}:` under `config:`"
    if details["type"] == "extra_forbidden":
        return _unknown_key(model, place)
    return (f"`{name}` {_wording(details)}" if place else str(details["msg"])), ""


def _unknown_key(model: type[BaseModel], path: PathParts) -> tuple[str, str]:
    known = known_keys(model, path[:-1])
    name = _last_name(path)
    match = nearest(name, known)
    suggestion = f"did you mean `{match}`?" if match else f"known keys: {', '.join(known)}"
    return f"`{name}` is not a known key", suggestion if known else "remove it: there are no keys"


def _wording(details: Any) -> str:
    """Return pydantic's message as the rest of a sentence that begins with the key."""
    reworded = _REWORDED.get(details["type"])
    message: str = details["msg"]
    if reworded:
        return reworded
    if message.startswith("Input should"):
        return message.removeprefix("Input ")
    return f"is not accepted: {message.removeprefix('Value error, ')}"


def _quoting_hint(
    document: YamlDocument, path: PathParts, kind: str, context: Mapping[str, Any]
) -> str:
    """Say how to quote when YAML made something else of what reads like a text."""
    written = document.written(path)
    wants_text = kind == "string_type" or "'" in str(context.get("expected", ""))
    if not wants_text or written is None:
        return ""
    value = _value(document.data, path)
    if isinstance(value, str):
        return ""
    if isinstance(value, bool):
        became = f"the boolean {str(value).lower()} (YAML 1.1)"
    elif value is None:
        became = "nothing"
    else:
        became = f"the number {value}"
    return f'`{written}` is read as {became}; put it in quotes: "{written}"'


def _path(data: Any, loc: Sequence[str | int], *, missing: bool) -> PathParts:
    """Return the part of a pydantic location that exists in the data.

    Locations also name union members, and what a validator made of the value; a missing key is kept.
    """
    parts: list[str | int] = []
    current = data
    for part in loc:
        inside_map = isinstance(current, dict) and part in current
        if inside_map or (
            isinstance(current, list) and isinstance(part, int) and part < len(current)
        ):
            parts.append(part)
            current = current[part]
    if missing and loc:
        parts.append(loc[-1])
    return tuple(parts)


def _value(data: Any, path: PathParts) -> Any:
    for part in path:
        data = data[part]
    return data


def _related(one: PathParts, other: PathParts) -> bool:
    """Tell whether one path leads through the other."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _last_name(path: PathParts) -> str:
    """Return the name of what a path leads to, in its own words: `adapters[1]` for an item."""
    name = ""
    for part in path:
        name = f"{name}[{part}]" if isinstance(part, int) else shorten(part)
    return name


def _variable_name(place: PathParts) -> str:
    return format_path(place).upper().replace(".", "_").replace("[", "_").replace("]", "")
