"""Stored objects on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from factflow_server.api.schemas.paging import PageSchema


class ObjectSchema(BaseModel):
    """One stored object; size in bytes. `metadata` is its record, when it was asked for."""

    key: str
    size: int
    content_type: str
    last_modified: str
    metadata: dict[str, Any] | None = None


class ObjectPage(PageSchema):
    """A page of objects in the order of their keys."""

    objects: list[ObjectSchema]


class ObjectMetadataSchema(BaseModel):
    """An object and the fields of its record (outcome, hashes, stage, error, whatever it holds)."""

    model_config = ConfigDict(extra="allow")

    key: str
    content_type: str | None
    size: int | None
    last_modified: str | None
