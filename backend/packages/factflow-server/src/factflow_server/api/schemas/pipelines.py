"""Routes across executions, on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from factflow_engine.execution_spec import RouteState
from factflow_execution.route_pauses import RoutePause
from factflow_server.api.schemas.times import iso


class PauseSchema(BaseModel):
    """A pause in force: since when, who asked for it, and why, as far as it was said."""

    route_id: str
    paused_at: str
    paused_by: str | None
    reason: str | None

    @classmethod
    def of(cls, pause: RoutePause) -> PauseSchema:
        """Return a pause as it goes on the wire."""
        return cls(
            route_id=pause.route_id,
            paused_at=iso(pause.paused_at),
            paused_by=pause.paused_by,
            reason=pause.reason,
        )


class RouteStateBody(BaseModel):
    """What a route is to be: `paused`, with a reason and a name for others to read, or `running`."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["paused", "running"]
    reason: str | None = Field(default=None, max_length=1000)
    requested_by: str | None = Field(default=None, max_length=200)


class RouteStateResponse(BaseModel):
    """What was done; `executions` are those that run the route now."""

    success: bool
    route_id: str
    status: Literal["paused", "running"]
    message: str
    executions: list[str]
    pause: PauseSchema | None


class RunningRouteSchema(BaseModel):
    """A route of a running execution, and what it has in hand now."""

    execution_id: str
    route_id: str
    name: str
    queue: str
    state: RouteState
    in_progress: int
    queued: int
    delayed: int
    pause: PauseSchema | None


class PipelinesResponse(BaseModel):
    """All routes that run, oldest execution first, and all pauses, of routes nobody runs too."""

    total: int
    routes: list[RunningRouteSchema]
    pauses: list[PauseSchema]
