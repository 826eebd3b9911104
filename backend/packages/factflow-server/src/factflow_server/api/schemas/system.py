"""The server's health on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

HealthStatus = Literal["healthy", "degraded", "unhealthy"]


class ComponentSchema(BaseModel):
    """How one part of the server is."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    status: HealthStatus
    message: str


class HealthResponse(BaseModel):
    """The server's health: as bad as its worst component."""

    status: HealthStatus
    components: list[ComponentSchema]
    version: str
    uptime_seconds: float
    data_dir: str | None
    """Shown to whoever may change something."""
