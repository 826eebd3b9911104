"""`pending_children`: how many expected child rows are not complete yet.

A row is complete when it is committed and none of its children is pending. A parent's count is made when
it turns committed (expected children less those complete by then) and lowered by each child that becomes
complete later; a count that reaches 0 completes the row, which lowers its own parent, and so on upward.
Each complete child is thus counted exactly once, in whatever order rows arrive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from factflow_lineage.models import COMMITTED, StageStatus
from factflow_lineage.parents import StandingRow, numbered_rows
from factflow_lineage.row_values import unfinished
from factflow_lineage.statements import Statements


class CountedRow:
    """A committed row whose count is at work. `stage_number` is known of rows that stand already."""

    __slots__ = ("parent_number", "pending", "stage_number", "status")

    def __init__(
        self,
        parent_number: int | None,
        pending: int,
        status: StageStatus,
        stage_number: int = 0,
    ) -> None:
        self.parent_number = parent_number
        self.pending = pending
        self.status = status
        self.stage_number = stage_number


def count_pending(
    statements: Statements,
    committed: Mapping[int, CountedRow],
    standing: Mapping[int, StandingRow],
) -> dict[int, CountedRow]:
    """Lower the counts of `committed` rows, about to turn so, and of rows above them, by all that these
    rows complete. Rows go by their numbers.

    Returns the rows that stand in the database and have a new count. Reads only, before anything of the
    batch is written; `standing` rows are known already, and each level above them is one query.
    """
    counted = dict(committed)
    lowered: dict[int, CountedRow] = {}
    completed: Counter[int | None] = Counter(
        row.parent_number for row in committed.values() if row.pending == 0
    )
    while completed:
        del completed[None]
        _look_up(statements, counted, completed.keys() - counted.keys(), standing)
        above: Counter[int | None] = Counter()
        for number, count in completed.items():
            row = counted.get(number) if number is not None else None
            if row is None or number is None or row.pending == 0:
                continue  # not committed yet: the child is counted when the parent is
            row.pending = max(0, row.pending - count)
            if number not in committed:
                lowered[number] = row
            if row.pending == 0:
                above[row.parent_number] += 1
        completed = above
    return lowered


def lower(statements: Statements, lowered: Mapping[int, CountedRow]) -> None:
    """Write new counts of rows that stand in the database."""
    statements.run_each(
        "UPDATE lineage_rows SET pending_children = ?, unfinished = ? WHERE number = ?",
        [
            (row.pending, unfinished(row.status, row.pending), number)
            for number, row in sorted(lowered.items())
        ],
    )


def _look_up(
    statements: Statements,
    counted: dict[int, CountedRow],
    wanted: Iterable[int | None],
    standing: Mapping[int, StandingRow],
) -> None:
    """Add rows that stand committed in the database to those that are counted."""
    numbers = [number for number in wanted if number is not None]
    unknown = [number for number in numbers if number not in standing]
    found = {**standing, **numbered_rows(statements, unknown)} if unknown else standing
    for number in numbers:
        row = found.get(number)
        if row is not None and row.status in COMMITTED:
            counted[number] = CountedRow(
                row.parent_number, row.pending_children, row.status, row.stage_number
            )
