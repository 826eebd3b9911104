"""What is told of workers: who is there, what each works on, what keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from factflow_execution.database_trouble import reason_of
from factflow_execution.workers import Share, Worker, Workers
from factflow_server.component import Component

SHOWN_REASONS = 5


@dataclass(frozen=True, slots=True)
class ReportedWorker:
    """A worker with its shares."""

    worker: Worker
    shares: tuple[Share, ...]

    @property
    def works_on(self) -> list[str]:
        """Return the executions it works on."""
        return [share.execution_id for share in self.shares if share.state == "working"]

    @property
    def refuses(self) -> dict[str, str]:
        """Return why it cannot work on executions, by their ids."""
        return {
            share.execution_id: share.reason or ""
            for share in self.shares
            if share.state == "refused"
        }


async def worker_report(workers: Workers) -> list[ReportedWorker]:
    """Return the workers that are there, the oldest first."""
    shares = await workers.all_shares()
    return [
        ReportedWorker(
            worker, tuple(share for share in shares if share.worker_id == worker.worker_id)
        )
        for worker in await workers.all()
    ]


async def workers_component(workers: Workers, *, needed: bool) -> Component:
    """Return how the workers are; `needed`: the server leaves all messages to them."""
    try:
        report = await worker_report(workers)
    except (SQLAlchemyError, OSError) as error:
        message = f"the database does not tell: {reason_of(error)}"
        return Component("workers", "degraded", message, hint="see to the database")
    trouble = [
        f"{one.worker.worker_id} cannot work on {execution_id}: {reason}"
        for one in report
        for execution_id, reason in one.refuses.items()
    ] + [
        f"{one.worker.worker_id} holds {route}: {reason}"
        for one in report
        for route, reason in (one.worker.holding or {}).items()
    ]
    message, hint = f"{len(report)} workers are there", ""
    if trouble:
        message += f"; {'; '.join(trouble[:SHOWN_REASONS])}"
        hint = "factflow why EXECUTION tells what it means for an execution"
    lacking = needed and not report
    if lacking:
        hint = "start one: factflow worker"
    return Component(
        "workers",
        "degraded" if trouble or lacking else "healthy",
        message,
        hint=hint,
        latency_ms=0.0,
        details={
            "workers": len(report),
            "shares": sum(len(one.works_on) for one in report),
            "refusals": sum(len(one.refuses) for one in report),
            "holding": sum(len(one.worker.holding or {}) for one in report),
        },
    )
