"""Stored objects on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class ObjectSchema(BaseModel):
    """One stored object; size in bytes. `metadata` is its record, when it was asked for."""

    key: str
    size: int
    content_type: str
    last_modified: str
    metadata: dict[str, Any] | None = None


class ObjectPage(BaseModel):
    """A page of objects in the order of their keys. `next_cursor` leads to the next one, null at the end.
    `total` is null unless it was asked for (`count`) or the page is all there is: counting looks at all."""

    total: int | None
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None
    objects: list[ObjectSchema]


class LevelEntrySchema(BaseModel):
    """What lies right below a prefix: an object (`size`), or a prefix of more, whose `key` ends with a slash,
    with what lies below it. Where `complete` is false, it is at least so much."""

    kind: Literal["prefix", "object"]
    key: str
    size: int
    objects: int
    records: int
    complete: bool


class LevelPage(BaseModel):
    """A page of one level of the tree of keys, in their order."""

    prefix: str
    limit: int
    has_more: bool
    next_cursor: str | None
    entries: list[LevelEntrySchema]


class ObjectMetadataSchema(BaseModel):
    """An object and the fields of its record (outcome, hashes, stage, error, whatever it holds)."""

    model_config = ConfigDict(extra="allow")

    key: str
    content_type: str | None
    size: int | None
    last_modified: str | None
