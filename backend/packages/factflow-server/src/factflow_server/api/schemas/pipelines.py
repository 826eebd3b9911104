"""Routes across executions, on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from factflow_engine.execution_spec import BreakerRuntime, RouteRuntime, RouteState
from factflow_execution.route_pauses import RoutePause
from factflow_server.api.schemas.times import iso


class PauseSchema(BaseModel):
    """A pause in force: since when, who asked for it, why, and until when, as far as it was said."""

    route_id: str
    paused_at: str
    paused_by: str | None
    reason: str | None
    until: str | None

    @classmethod
    def of(cls, pause: RoutePause) -> PauseSchema:
        """Return a pause as it goes on the wire."""
        return cls(
            route_id=pause.route_id,
            paused_at=iso(pause.paused_at),
            paused_by=pause.paused_by,
            reason=pause.reason,
            until=iso(pause.until),
        )


class RouteStateBody(BaseModel):
    """What a route is to be: `paused`, with a reason and a name for others to read, or `running`. A pause
    ends by itself at `until`, a time with its zone; without it, it lasts until the route is resumed."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["paused", "running"]
    reason: str | None = Field(default=None, max_length=1000)
    requested_by: str | None = Field(default=None, max_length=200)
    until: AwareDatetime | None = None


class RouteStateResponse(BaseModel):
    """What was done; `executions` are those that run the route now."""

    success: bool
    route_id: str
    status: Literal["paused", "running"]
    message: str
    executions: list[str]
    pause: PauseSchema | None


class HeldBackSchema(BaseModel):
    """The route downstream that has more messages in its queue than its `max_queued`."""

    model_config = ConfigDict(from_attributes=True)

    route: str
    queued: int
    max_queued: int


class BreakerSchema(BaseModel):
    """A stage's circuit breaker that is not closed, and when the next message may try."""

    stage: str
    state: Literal["open", "half_open"]
    opened_at: str
    probe_at: str
    failures: int
    last_error: str

    @classmethod
    def of(cls, breaker: BreakerRuntime) -> BreakerSchema:
        """Return a breaker as it goes on the wire."""
        return cls(
            stage=breaker.stage,
            state=breaker.state,
            opened_at=iso(breaker.opened_at),
            probe_at=iso(breaker.probe_at),
            failures=breaker.failures,
            last_error=breaker.last_error,
        )


class FlowSchema(BaseModel):
    """What lets a route take messages, and what keeps it from that: a pause, a full queue downstream, an
    open breaker, trouble with storage or queue. `concurrency` is null when the route does not run."""

    concurrency: int | None = None
    pause: PauseSchema | None = None
    held_back: HeldBackSchema | None = None
    breakers: list[BreakerSchema] = Field(default_factory=list)
    holding: str | None = None


def flow_fields(now: RouteRuntime | None, pause: RoutePause | None) -> dict[str, Any]:
    """Return the fields of a `FlowSchema`."""
    fields: dict[str, Any] = {"pause": None if pause is None else PauseSchema.of(pause)}
    if now is None:
        return fields
    held = now.held_back
    return fields | {
        "concurrency": now.concurrency,
        "held_back": None if held is None else HeldBackSchema.model_validate(held),
        "breakers": [BreakerSchema.of(breaker) for breaker in now.breakers],
        "holding": now.holding,
    }


class RunningRouteSchema(FlowSchema):
    """A route of a running execution, and what it has in hand now."""

    execution_id: str
    route_id: str
    name: str
    queue: str
    state: RouteState
    in_progress: int
    queued: int
    delayed: int


class PipelinesResponse(BaseModel):
    """All routes that run, oldest execution first, and all pauses, of routes nobody runs too."""

    total: int
    routes: list[RunningRouteSchema]
    pauses: list[PauseSchema]
