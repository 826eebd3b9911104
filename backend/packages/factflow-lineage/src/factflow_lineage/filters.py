"""What a listing of rows may be narrowed by."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa

from factflow_lineage.errors import LineageFilterError
from factflow_lineage.models import STATUSES
from factflow_lineage.tables import rows

MAX_LIMIT = 10_000
LARGEST_OFFSET = 2**62
COUNTED_FILTERS = frozenset({"execution_id", "route_id", "stage", "adapter"})
_HOW = frozenset({"sort_order", "limit", "offset"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageFilter:
    """All given conditions must hold. Times are Unix seconds, both ends included.

    `url` and `title` match a part of the metadata field of that name, whatever the case; `status` is
    the effective one (see `PipelineLineageEntry`). Rows are ordered by start, then id. Raises
    `LineageFilterError`.
    """

    execution_id: str | None = None
    route_id: str | None = None
    stage: str | None = None
    adapter: str | None = None
    status: str | None = None
    is_root: bool | None = None
    message_id: str | None = None
    batch_id: str | None = None
    url: str | None = None
    title: str | None = None
    error_type: str | None = None
    started_after: float | None = None
    started_before: float | None = None
    sort_order: Literal["asc", "desc"] = "asc"
    limit: int = 100
    offset: int = 0

    def __post_init__(self) -> None:
        check_page(self.limit, self.offset)
        if self.status is not None and self.status not in STATUSES:
            raise LineageFilterError(
                f"no lineage status {self.status!r}", hint=f"one of {', '.join(STATUSES)}"
            )
        if self.sort_order not in {"asc", "desc"}:
            raise LineageFilterError(f"no sort order {self.sort_order!r}", hint="asc or desc")
        for name in ("started_after", "started_before"):
            seconds = getattr(self, name)
            if seconds is not None and not math.isfinite(seconds):
                raise LineageFilterError(f"{name} is {seconds!r}, not a time")

    @property
    def counted(self) -> bool:
        """Tell whether the counters know how many rows match, so that none need be looked at."""
        given = {field.name for field in fields(self) if getattr(self, field.name) is not None}
        return given - _HOW <= COUNTED_FILTERS

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on the table of rows."""
        c = rows.c
        equal = ("execution_id", "route_id", "stage", "adapter", "message_id", "batch_id")
        found = [c[name] == _asked(getattr(self, name)) for name in equal if getattr(self, name)]
        found += [sa.false() for name in equal if getattr(self, name) == ""]
        if self.status is not None:
            found.append(_has_status(self.status))
        if self.is_root is not None:
            found.append(c.parent_id.is_(None) if self.is_root else c.parent_id.is_not(None))
        if self.url is not None:
            found.append(_holds(c.metadata["url"], self.url))
        if self.title is not None:
            found.append(_holds(c.metadata["title"], self.title))
        if self.error_type is not None:
            found.append(c.error["type"].as_string() == _asked(self.error_type))
        if self.started_after is not None:
            found.append(c.started_at >= self.started_after)
        if self.started_before is not None:
            found.append(c.started_at <= self.started_before)
        return found


def check_page(limit: int, offset: int) -> None:
    """Raise `LineageFilterError` for a page that cannot be."""
    if not 1 <= limit <= MAX_LIMIT:
        raise LineageFilterError(f"limit is {limit}", hint=f"a number from 1 to {MAX_LIMIT}")
    if not 0 <= offset <= LARGEST_OFFSET:
        raise LineageFilterError(f"offset is {offset}", hint="a number from 0")


def _has_status(status: str) -> sa.ColumnElement[bool]:
    c = rows.c
    ended = c.status == "completed"
    if status == "completed":
        return sa.and_(ended, c.pending_children == 0)
    if status == "processing":
        return sa.or_(c.status == status, sa.and_(ended, c.pending_children > 0))
    return c.status == status


def _holds(field: Any, part: str) -> sa.ColumnElement[bool]:
    return sa.func.lower(field.as_string()).contains(_asked(part).lower(), autoescape=True)


def _asked(text: str) -> str:
    """Return what can be sent to a database in place of text that no stored value could equal."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
