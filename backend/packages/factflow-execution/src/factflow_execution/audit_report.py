"""What a comparison of lineage with storage found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, get_args

GapKind = Literal[
    "row_missing",
    "row_differs",
    "row_without_record",
    "artefact_missing",
    "hash_mismatch",
    "record_damaged",
    "litter",
]
GAP_KINDS: tuple[GapKind, ...] = get_args(GapKind)
OF_ROWS: frozenset[GapKind] = frozenset({"row_missing", "row_differs", "row_without_record"})
"""What making the rows again from the records closes."""


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
    `litter_deleted` are of a repair; `notes` are for a person."""

    execution_id: str
    deep: bool
    shown: int
    records: int = 0
    artefacts: int = 0
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
