"""What a comparison of lineage with storage found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from factflow_execution.execution_deletions import Deletion

GapKind = Literal[
    "row_missing",
    "row_differs",
    "row_without_record",
    "counts_differ",
    "artefact_missing",
    "hash_mismatch",
    "record_damaged",
    "litter",
]
GAP_KINDS: tuple[GapKind, ...] = get_args(GapKind)
OF_ROWS: frozenset[GapKind] = frozenset(
    {"row_missing", "row_differs", "row_without_record", "counts_differ"}
)
"""What making the rows again from the records closes."""
AuditStep = Literal["records", "litter", "rows"]
"""What is being done: records are compared, litter is looked for, rows are made again."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that is not as it should be: where it is, the row it is about, and what is wrong."""

    kind: GapKind
    key: str
    row_id: str | None = None
    detail: str = ""


@dataclass(slots=True)
class AuditReport:
    """Numbers of all gaps, by kind, and the first ones of each kind. `rows_rebuilt` and
    `litter_deleted` are of a repair; `notes` are for a person.

    `rows` had been committed when it began, which is about how many records there are. What records name and
    a `deletion` took is no gap; `artefacts_deleted` counts it.
    """

    execution_id: str
    deep: bool
    shown: int
    deletion: Deletion | None = None
    step: AuditStep = "records"
    rows: int = 0
    records: int = 0
    artefacts: int = 0
    artefacts_deleted: int = 0
    counts: Counter[GapKind] = field(default_factory=Counter)
    gaps: list[Gap] = field(default_factory=list)
    rows_rebuilt: int = 0
    litter_deleted: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Tell whether lineage and storage agree."""
        return not self.counts.total()

    @property
    def rows_have_gaps(self) -> bool:
        """Tell whether making the rows again would change them."""
        return any(self.counts[kind] for kind in OF_ROWS)

    def add(self, gap: Gap) -> None:
        """Count a gap, and keep it while there is room."""
        if self.counts[gap.kind] < self.shown:
            self.gaps.append(gap)
        self.counts[gap.kind] += 1


Tell = Callable[[AuditReport], None]
"""Is called with a report as it grows, some tens of records at a time."""


def quiet(_: AuditReport) -> None:
    """Tell nobody."""
