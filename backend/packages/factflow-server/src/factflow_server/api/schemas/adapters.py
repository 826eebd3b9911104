"""Adapters on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class AdapterSchema(BaseModel):
    """An adapter a pipeline can name. `changed_on_disk`: its file differs from what is loaded."""

    type: str
    description: str
    version: str
    distribution: str | None
    module: str
    changed_on_disk: bool


class AdapterDetailSchema(AdapterSchema):
    """An adapter with the JSON schema of its config."""

    config_schema: dict[str, Any]


class BrokenAdapterSchema(BaseModel):
    """An installed adapter whose module cannot be loaded."""

    type: str
    error: str


class AdapterList(BaseModel):
    """All adapters, by type."""

    adapters: list[AdapterSchema]
    broken: list[BrokenAdapterSchema]
