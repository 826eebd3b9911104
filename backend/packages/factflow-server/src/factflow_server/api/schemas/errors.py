"""The one shape of every error answer."""

from __future__ import annotations

from pydantic import BaseModel

from factflow_server.api.schemas.configs import IssueSchema


class ErrorResponse(BaseModel):
    """What went wrong (`detail`), its stable `error_code`, and what to do about it (`hint`)."""

    detail: str
    error_code: str
    hint: str = ""
    correlation_id: str
    timestamp: str
    issues: list[IssueSchema] | None = None
    """The problems of a config, when it is one that was refused."""
