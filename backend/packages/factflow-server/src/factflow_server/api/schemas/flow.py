"""What lets a route take messages and what keeps it from that, on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from factflow_engine.execution_spec import BreakerRuntime, RouteRuntime
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
