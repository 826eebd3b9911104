"""How listings are cut into pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel

Limit = Annotated[int, Query(ge=1, le=1000, description="Rows in this page.")]
Offset = Annotated[int, Query(ge=0, description="Rows to skip.")]
Cursor = Annotated[
    str | None,
    Query(min_length=1, max_length=1100, description="`next_cursor` of the page before."),
]


class PageSchema(BaseModel):
    """Where a page lies in its listing; `total` counts all rows that match."""

    total: int
    limit: int
    offset: int
    has_more: bool
