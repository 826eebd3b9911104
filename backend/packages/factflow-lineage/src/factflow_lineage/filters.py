"""What a listing of rows may be narrowed by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import sqlalchemy as sa

from factflow_foundation.records import Outcome
from factflow_lineage.cursor import Position, decode
from factflow_lineage.errors import LineageFilterError
from factflow_lineage.id_search import asked, of_message
from factflow_lineage.json_fields import holds
from factflow_lineage.metadata_search import MetadataCondition
from factflow_lineage.models import STATUSES
from factflow_lineage.tables import executions, rows, stages

MAX_LIMIT = 10_000
LARGEST_OFFSET = 2**62
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_HOW = frozenset({"sort_order", "limit", "offset", "cursor"})
_STAGE = ("route_id", "stage", "adapter")
_COUNTED = frozenset({"execution_id", *_STAGE, "status"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageFilter:
    """All given conditions must hold. Times are Unix seconds, both ends included.

    `url` and `title` match a part of the metadata field of that name, whatever the case; `where` names
    whole values of any field; `status` is the effective one (see `PipelineLineageEntry`). Rows are
    ordered by start, then as they were first written. `cursor` is the `next_cursor` of the page before
    (and excludes `offset`). Raises `LineageFilterError`.
    """

    execution_id: str | None = None
    route_id: str | None = None
    stage: str | None = None
    adapter: str | None = None
    status: str | None = None
    outcome: str | None = None
    is_root: bool | None = None
    message_id: str | None = None
    batch_id: str | None = None
    url: str | None = None
    title: str | None = None
    where: Sequence[MetadataCondition] = ()
    error_type: str | None = None
    started_after: float | None = None
    started_before: float | None = None
    sort_order: Literal["asc", "desc"] = "asc"
    limit: int = 100
    offset: int = 0
    cursor: str | None = None

    def __post_init__(self) -> None:
        check_page(self.limit, self.offset, self.cursor)
        if self.status is not None and self.status not in STATUSES:
            raise LineageFilterError(
                f"no lineage status {self.status!r}", hint=f"one of {', '.join(STATUSES)}"
            )
        if self.outcome is not None and self.outcome not in OUTCOMES:
            raise LineageFilterError(
                f"no outcome {self.outcome!r}", hint=f"one of {', '.join(OUTCOMES)}"
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
        given = {
            field.name for field in fields(self) if getattr(self, field.name) not in (None, ())
        }
        return given - _HOW <= _COUNTED

    @property
    def names_stages(self) -> bool:
        """Tell whether rows are narrowed by their route, stage or adapter."""
        return any(getattr(self, name) is not None for name in _STAGE)

    @property
    def finds_few(self) -> bool:
        """Tell whether there is an index, by execution, of just the rows of this kind."""
        uncommon = self.status is not None and self.status != "completed"
        return uncommon or self.error_type is not None or self.is_root is True

    @property
    def order(self) -> str:
        """Return the name of the order of rows, for cursors."""
        return f"start {self.sort_order}"

    def position(self, order: str) -> Position | None:
        """Return where the page before ended."""
        return None if self.cursor is None else decode(order, self.cursor)

    def stage_conditions(self, *, named: bool = True) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on the table of stages, joined with that of executions; not `named`, those
        on executions alone."""
        names = _STAGE if named else ()
        found = [
            stages.c[name] == asked(getattr(self, name))
            for name in names
            if getattr(self, name) is not None
        ]
        if self.execution_id is not None:
            found.append(executions.c.execution_id == asked(self.execution_id))
        return found

    def indexed_conditions(
        self, start: sa.ColumnElement[float], *, within_executions: bool
    ) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on rows that an index knows in order of `start`; some indexes are by
        execution."""
        c = rows.c
        found: list[sa.ColumnElement[bool]] = []
        if self.batch_id is not None:
            found.append(c.batch_id == asked(self.batch_id))
        if self.message_id is not None:
            found.append(c.number.in_(of_message(self.message_id)))
        if self.status not in (None, "completed") and within_executions:
            found += _has_status(str(self.status))
        if self.is_root:
            found.append(c.parent_id.is_(None))
        if self.error_type is not None and within_executions:
            found.append(c.error.is_not(None))
        if self.started_after is not None:
            found.append(start >= self.started_after)
        if self.started_before is not None:
            found.append(start <= self.started_before)
        return found

    def looked_conditions(self, *, within_executions: bool) -> list[sa.ColumnElement[bool]]:
        """Return the conditions that each row has to be looked at for."""
        c = rows.c
        found: list[sa.ColumnElement[bool]] = []
        if self.status is not None and (self.status == "completed" or not within_executions):
            found += _has_status(self.status)
        if self.is_root is False:
            found.append(c.parent_id.is_not(None))
        return found + self.content_conditions()

    def content_conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on what a row tells: outcome, error and metadata."""
        c = rows.c
        found: list[sa.ColumnElement[bool]] = []
        if self.outcome is not None:
            found.append(c.outcome == self.outcome)
        if self.url is not None:
            found.append(holds(c.metadata, ["url"], asked(self.url)))
        if self.title is not None:
            found.append(holds(c.metadata, ["title"], asked(self.title)))
        if self.error_type is not None:
            found += [c.error.is_not(None), c.error["type"].as_string() == asked(self.error_type)]
        return found + [condition.on_rows() for condition in self.where]


def check_page(limit: int, offset: int, cursor: str | None = None) -> None:
    """Raise `LineageFilterError` for a page that cannot be."""
    if not 1 <= limit <= MAX_LIMIT:
        raise LineageFilterError(f"limit is {limit}", hint=f"a number from 1 to {MAX_LIMIT}")
    if not 0 <= offset <= LARGEST_OFFSET:
        raise LineageFilterError(f"offset is {offset}", hint="a number from 0")
    if offset and cursor is not None:
        raise LineageFilterError(
            "a cursor and an offset exclude each other", hint="go on with the cursor alone"
        )


def _has_status(status: str) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that the effective status be this one, each with what finds its index:
    a database knows that a partial index serves when its own words are used, and no parameters."""
    c = rows.c
    is_status = c.status == sa.literal_column(f"'{status}'")
    if status == "completed":
        return [is_status, c.pending_children == 0]
    if status == "failed":
        return [is_status]
    if status == "processing":
        is_status = sa.or_(is_status, c.status == "completed")
    return [c.unfinished.is_not(None), is_status]
