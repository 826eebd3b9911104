"""From what went wrong to what the client reads: one table, one shape.

Every error answer is an `ErrorResponse`. What nobody foresaw becomes a 500 that carries a correlation
id and nothing of our insides; the log has the rest under the same id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from factflow_engine.config.issues import ConfigurationError
from factflow_execution.config_service import ConfigUnreadableError
from factflow_execution.database_trouble import DATABASE_TROUBLE
from factflow_foundation import logs
from factflow_foundation.clock import SystemClock, isoformat
from factflow_protocols.errors import FactflowError
from factflow_server.api.schemas.configs import IssueSchema
from factflow_server.api.schemas.errors import ErrorResponse
from factflow_server.middleware.correlation import correlation_id

_log = logs.logger(__name__)

STATUS: Mapping[str, int] = {
    "invalid_request": 422,
    "config_invalid": 422,
    "key_refused": 422,
    "stage_not_found": 422,
    "stage_ambiguous": 422,
    "route_not_found": 422,
    "replay_empty": 422,
    "not_a_replay": 422,
    "messages_not_found": 422,
    "event_unknown": 422,
    "artefacts_missing": 409,
    "object_damaged": 409,
    "record_damaged": 409,
    "execution_state": 409,
    "execution_held": 409,
    "execution_deleted": 410,
    "tag_taken": 409,
    "idempotency_key_reused": 409,
    "scope_insufficient": 403,
    "code_changed": 409,
    "config_inactive": 409,
    "init_too_large": 413,
    "body_too_large": 413,
    "too_many_executions": 429,
    "too_many_archives": 429,
    "archive_not_ready": 409,
    "archive_not_found": 404,
    "config_not_found": 404,
    "execution_not_found": 404,
    "route_not_running": 404,
    "lineage_not_found": 404,
    "object_not_found": 404,
    "adapter_not_found": 404,
    "subject_not_found": 404,
    "storage_unavailable": 503,
    "queue_unavailable": 503,
    "lineage_unavailable": 503,
    "database_unavailable": 503,
    "server_stopping": 503,
    "adapter_broken": 500,
    "launch_failed": 500,
}
"""HTTP status by error code; a code that is not here is an internal error."""

FRAMEWORK_CODES: Mapping[int, str] = {
    404: "endpoint_not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}
"""Codes of what the framework itself refuses."""

RETRY_AFTER: Mapping[int, int] = {429: 5, 503: 5}
"""Seconds after which asking again may help."""

_DATABASE_TROUBLE: Mapping[str, str] = {
    "disk is full": "free some space where the data folder is",
    "readonly database": "make the data folder writable",
    "is locked": "another program holds it; end that, or try again",
}
"""What to do about what SQLite says."""


NUL_REFUSED = "22021"  # SQL state: character not in repertoire


def answer(
    status: int, code: str, detail: str, hint: str = "", issues: Sequence[Any] | None = None
) -> JSONResponse:
    """Return an error answer under the present request's correlation id."""
    body = ErrorResponse(
        detail=detail,
        error_code=code,
        hint=hint,
        correlation_id=correlation_id(),
        timestamp=isoformat(SystemClock().now()),
        issues=None if issues is None else [IssueSchema.model_validate(issue) for issue in issues],
    )
    wait = RETRY_AFTER.get(status)
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status_code=status,
        headers=None if wait is None else {"Retry-After": str(wait)},
    )


def internal_error(error: BaseException) -> JSONResponse:
    """Log an unforeseen error and return the answer that hides it."""
    _log.error("unexpected error", error_type=type(error).__name__, exc_info=error)
    return answer(
        500,
        "internal_error",
        "something unexpected went wrong inside Factflow",
        f"look for correlation id {correlation_id()} in the server's log",
    )


async def answer_to(request: Request, error: BaseException) -> JSONResponse:
    """Return what the client is told of an error that comes after its answer has begun."""
    if isinstance(error, DATABASE_TROUBLE):
        return await _database_error(request, error)
    return await _domain_error(request, error)


async def _domain_error(request: Request, error: BaseException) -> JSONResponse:
    if not isinstance(error, FactflowError):
        return internal_error(error)
    status = STATUS.get(error.code)
    if status is None:
        return internal_error(error)
    if isinstance(error, ConfigUnreadableError):
        return answer(400, error.code, error.message, error.hint, error.report.issues)
    if isinstance(error, ConfigurationError):
        return answer(status, error.code, error.message, error.hint, error.report.issues)
    root = str(request.app.state.container.data_dir.root)
    return answer(status, error.code, error.message.replace(root, "DATA_DIR"), error.hint)


async def _invalid_fields(_: Request, error: Exception) -> JSONResponse:
    """Name every field that is wrong, without repeating the values that were sent."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    if any(problem["type"] == "json_invalid" for problem in problems):
        return answer(400, "invalid_request", "the body is not valid JSON")
    lines = [f"{_place(problem['loc'])}: {problem['msg']}" for problem in problems]
    hint = "/openapi.json describes every request"
    if any(tuple(problem["loc"]) == ("body",) for problem in problems):
        hint = "send a JSON object with Content-Type: application/json"
    return answer(422, "invalid_request", "; ".join(lines) or "the request is invalid", hint)


def _place(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location) or "request"


async def _database_error(_: Request, error: Exception) -> JSONResponse:
    told = str(getattr(error, "orig", ""))
    for cause, hint in _DATABASE_TROUBLE.items():
        if cause in told:
            _log.warning("database error", reason=told)
            return answer(
                503,
                "database_unavailable",
                f"the database of configs and executions does not take this: {told}",
                hint,
            )
    if isinstance(getattr(error, "orig", None), sqlite3.Error):
        _log.error("database error", error_type=type(error).__name__, exc_info=error)
    else:
        _log.warning("database error", reason=told or str(error))
    return answer(
        503,
        "database_unavailable",
        "the database of configs and executions does not answer",
        "try again; factflow system health tells more",
    )


async def _refused_by_database(_: Request, error: Exception) -> JSONResponse:
    """What the client sent is the matter only when it is text that PostgreSQL has no place for."""
    if getattr(getattr(error, "orig", None), "sqlstate", None) != NUL_REFUSED:
        return internal_error(error)
    return answer(422, "invalid_request", "text must not contain the character NUL (U+0000)")


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return internal_error(error)
    hint = "/openapi.json lists every endpoint" if error.status_code in {404, 405} else ""
    code = FRAMEWORK_CODES.get(error.status_code, "invalid_request")
    response = answer(error.status_code, code, str(error.detail), hint)
    response.headers.update(error.headers or {})
    return response


def install(app: FastAPI) -> None:
    """Let `app` answer every error in the one shape."""
    app.add_exception_handler(FactflowError, _domain_error)
    app.add_exception_handler(RequestValidationError, _invalid_fields)
    for trouble in DATABASE_TROUBLE:
        app.add_exception_handler(trouble, _database_error)
    app.add_exception_handler(DBAPIError, _refused_by_database)
    app.add_exception_handler(HTTPException, _http_error)
