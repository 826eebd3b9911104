"""Everything for a live view of an execution, on the wire."""

from __future__ import annotations

from pydantic import BaseModel

from factflow_server.api.schemas.executions import (
    DagResponse,
    ExecutionSchema,
    PlanProgressSchema,
    RouteProgressSchema,
)
from factflow_server.api.schemas.lineage import LineageRow


class MetricsSchema(BaseModel):
    """Sums over all routes; a message counts once in every route it comes to. Shares from 0 to 1."""

    total_messages: int
    completed: int
    failed: int
    in_progress: int
    queued: int
    delayed: int
    per_second: float
    failure_share: float | None

    @classmethod
    def of(cls, routes: list[RouteProgressSchema]) -> MetricsSchema:
        """Return the sums over routes."""
        completed = sum(route.completed for route in routes)
        failed = sum(route.failed for route in routes)
        settled = completed + failed
        return cls(
            total_messages=sum(route.total_messages for route in routes),
            completed=completed,
            failed=failed,
            in_progress=sum(route.in_progress for route in routes),
            queued=sum(route.queued for route in routes),
            delayed=sum(route.delayed for route in routes),
            per_second=sum(route.per_second or 0.0 for route in routes),
            failure_share=failed / settled if settled else None,
        )


class MonitorResponse(BaseModel):
    """An execution as it stands: routes, sums, the last failures, and its graph.

    `eta_seconds` is told while a replay follows its plan: the time that what is planned and what waits
    takes at the present pace. What these messages will lead to is not in it. `failures` is null when
    lineage does not answer.
    """

    at: str
    execution: ExecutionSchema
    plan: PlanProgressSchema | None
    eta_seconds: float | None
    metrics: MetricsSchema
    routes: list[RouteProgressSchema]
    failures: list[LineageRow] | None
    dag: DagResponse


def eta_seconds(metrics: MetricsSchema, plan: PlanProgressSchema | None) -> float | None:
    """Return how long what is planned and waits takes at the present pace; None when nobody can tell."""
    if plan is None or not metrics.per_second:
        return None
    waiting = metrics.queued + metrics.delayed + metrics.in_progress
    return (max(0, plan.planned - plan.published) + waiting) / metrics.per_second
