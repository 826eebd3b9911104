"""An audit as a stream: how far it is, once a second, and in the end its report or what went wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request

from factflow_execution.audit_report import AuditReport, Tell
from factflow_execution.event_streams import Pages, StreamEvent
from factflow_server import errors
from factflow_server.api.schemas.audit import AuditProgressSchema, AuditResponse

TOLD_EVERY_SECONDS = 1.0

Audit = Callable[[Tell], Coroutine[Any, Any, AuditReport]]


async def audit_events(audit: Audit, request: Request) -> Pages:
    """Yield `progress` events while the audit runs, then one `report`, or an `error`: the answer that a
    request without a stream would have been given, and its `status`.

    Whoever leaves ends the audit.
    """
    present: AuditReport | None = None

    def tell(report: AuditReport) -> None:
        nonlocal present
        present = report

    task = asyncio.create_task(audit(tell), name="audit")
    try:
        while not (await asyncio.wait([task], timeout=TOLD_EVERY_SECONDS))[0]:
            yield [] if present is None else [_progress(present)]
        yield [await _end(task, request)]
    finally:
        task.cancel()


def _progress(report: AuditReport) -> StreamEvent:
    return StreamEvent("progress", AuditProgressSchema.of(report).model_dump(mode="json"))


async def _end(task: asyncio.Task[AuditReport], request: Request) -> StreamEvent:
    error = task.exception()
    if error is None:
        return StreamEvent("report", AuditResponse.of(task.result()).model_dump(mode="json"))
    answer = await errors.answer_to(request, error)
    return StreamEvent("error", {**json.loads(bytes(answer.body)), "status": answer.status_code})
