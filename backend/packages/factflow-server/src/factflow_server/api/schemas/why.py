"""Causes on the wire."""

from __future__ import annotations

from pydantic import BaseModel

from factflow_execution.why.causes import Answer, Cause, CauseCode, SubjectKind
from factflow_server.api.schemas.times import iso


class CauseSchema(BaseModel):
    """One reason: a stable `code`, a sentence, the command to try `next`, and what it comes from.

    `since` and `until` are null when they are not known, ids when they do not matter; `count` is how many
    messages it is about.
    """

    code: CauseCode
    sentence: str
    next: str
    since: str | None
    until: str | None
    execution_id: str | None
    route: str | None
    stage: str | None
    message_id: str | None
    count: int | None
    because: list[CauseSchema]

    @classmethod
    def of(cls, cause: Cause) -> CauseSchema:
        """Return a cause, and all it comes from, as it goes on the wire."""
        return cls(
            code=cause.code,
            sentence=cause.sentence,
            next=cause.next,
            since=iso(cause.since),
            until=iso(cause.until),
            execution_id=cause.execution_id,
            route=cause.route,
            stage=cause.stage,
            message_id=cause.message_id,
            count=cause.count,
            because=[cls.of(below) for below in cause.because],
        )


class WhyResponse(BaseModel):
    """Why a subject is as its summary says; `execution_id` is null for a route asked about everywhere."""

    kind: SubjectKind
    subject: str
    execution_id: str | None
    status: str
    summary: str
    as_of: str
    causes: list[CauseSchema]

    @classmethod
    def of(cls, answer: Answer) -> WhyResponse:
        """Return an answer as it goes on the wire."""
        return cls(
            kind=answer.kind,
            subject=answer.subject,
            execution_id=answer.execution_id,
            status=answer.status,
            summary=answer.summary,
            as_of=iso(answer.as_of),
            causes=[CauseSchema.of(cause) for cause in answer.causes],
        )
