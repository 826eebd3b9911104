"""One part of the server, and how it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

HealthStatus = Literal["healthy", "degraded", "unhealthy"]
_ORDER: Sequence[HealthStatus] = ("healthy", "degraded", "unhealthy")


@dataclass(frozen=True, slots=True)
class Component:
    """How one part is; `message` is for a person, and so is `hint`: what to do about it.

    `latency_ms` is how long it took to answer; `details` are numbers and settings, never secrets.
    """

    name: str
    status: HealthStatus
    message: str
    checked_at: float = 0.0
    hint: str = ""
    latency_ms: float | None = None
    details: Mapping[str, int | float | str | bool | None] = field(default_factory=dict)


def overall(components: Sequence[Component]) -> HealthStatus:
    """Return the worst status of all components."""
    return max((component.status for component in components), key=_ORDER.index, default="healthy")
