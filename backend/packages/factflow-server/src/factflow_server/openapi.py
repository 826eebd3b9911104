"""What the API says of itself: the framework's description, with every status an operation can answer.

The framework knows the answers that go well. Which errors an operation can end in follows from what it takes
(a path, a body, what it starts), so that an endpoint that is added is described without a word of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from factflow_server.errors import FRAMEWORK_CODES, STATUS

ERROR = {"$ref": "#/components/schemas/ErrorResponse"}
BODY_STATUSES = (400, 413, 415)
EVERYWHERE: Mapping[int, str] = {
    403: "The host, the page or the token may not ask this.",
    414: "The URL is too long.",
    422: "A value is not what it has to be.",
    431: "The headers are too large.",
    500: "A fault inside; the log has more under the correlation id.",
    503: "Something is away for now.",
}
SOMETIMES: Mapping[int, str] = {
    400: "The body cannot be read as JSON, or the config not as YAML.",
    401: "No access token, or none that is known.",
    404: "There is no such thing.",
    409: "It contradicts what is there.",
    410: "It was deleted, on the day that is told.",
    413: "The body is too large.",
    415: "The body is not called JSON.",
    429: "As many run as may.",
}
HEADERS: Mapping[int, tuple[str, str]] = {
    401: ("WWW-Authenticate", "Bearer"),
    429: ("Retry-After", "Seconds after which to ask again."),
    503: ("Retry-After", "Seconds after which to ask again."),
}


def describe(app: FastAPI, *, with_tokens: bool) -> None:
    """Have `app.openapi()` tell of every error; `with_tokens` tells of the tokens it asks for."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            _tell_codes(document)
            for path, method, operation in _operations(document):
                _tell_errors(operation, path, method, with_tokens=with_tokens)
            if with_tokens:
                document["components"]["securitySchemes"] = {
                    "token": {"type": "http", "scheme": "bearer"}
                }
                document["security"] = [{"token": []}]
        return app.openapi_schema or {}

    app.openapi = described  # type: ignore[method-assign]  # the framework's own way to extend it


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _tell_codes(document: dict[str, Any]) -> None:
    """Name the codes: those of the endpoints, and those of what every request passes before them."""
    codes = {*STATUS, *FRAMEWORK_CODES.values(), "internal_error"}
    codes |= {"host_refused", "origin_refused", "unauthenticated", "unsupported_media_type"}
    codes |= {"url_too_long", "headers_too_large"}
    field = document["components"]["schemas"]["ErrorResponse"]["properties"]["error_code"]
    field["enum"] = sorted(codes)


def _tell_errors(operation: dict[str, Any], path: str, method: str, *, with_tokens: bool) -> None:
    parameters = operation.get("parameters", ())
    statuses = set(EVERYWHERE)
    if with_tokens:
        statuses.add(401)
    if "requestBody" in operation:
        statuses |= set(BODY_STATUSES)
    names = {parameter["name"] for parameter in parameters}
    if "{" in path or "execution_id" in names or method == "post":
        statuses.add(404)
    if method != "get" or "storage" in path or path.endswith("/download") or "/diff/" in path:
        statuses.add(409)
    if "Idempotency-Key" in names or path.endswith("/prepare"):
        statuses.add(429)
    if any(name in path for name in ("execution", "replay", "storage", "lineage", "archive")):
        statuses.add(410)
    responses = operation["responses"]
    responses.pop("default", None)
    for status in sorted(statuses):
        responses[str(status)] = _error(status)


def _error(status: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "description": EVERYWHERE.get(status) or SOMETIMES[status],
        "content": {"application/json": {"schema": ERROR}},
    }
    if status in HEADERS:
        name, meaning = HEADERS[status]
        told["headers"] = {name: {"description": meaning, "schema": {"type": "string"}}}
    return told
