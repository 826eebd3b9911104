"""Counts per stage of an execution, moved when a row changes its status."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from factflow_lineage.histogram import bucket_of, microseconds
from factflow_lineage.models import COMMITTED, PipelineLineageEntry, StageStatus
from factflow_lineage.stage_numbers import StageNumber, StageOfExecution
from factflow_lineage.statements import Statements
from factflow_lineage.tables import COUNTED
from factflow_lineage.tallies import StageMoves

_MOVED = (*COUNTED, "duration_us")


class CounterMoves:
    """The changes one batch makes, summed up before they are written. Stages go by their numbers."""

    def __init__(self) -> None:
        self._counts: dict[int, Counter[str]] = defaultdict(Counter)
        self._buckets: Counter[tuple[int, int]] = Counter()

    def leave(self, stage_number: int, status: StageStatus) -> None:
        """Take out a row that is being replaced; only uncommitted rows ever are."""
        self._counts[stage_number][status] -= 1

    def enter(self, stage_number: int, entry: PipelineLineageEntry) -> None:
        """Count a row in as it is written."""
        counts = self._counts[stage_number]
        counts[entry.status] += 1
        if entry.status not in COMMITTED:
            return
        duration = microseconds(entry.duration_ms)
        if entry.outcome == "filtered":
            counts["filtered"] += 1
        if not entry.continues:
            counts["settled"] += 1
        counts["duration_us"] += round(duration)
        self._buckets[stage_number, bucket_of(duration)] += 1

    def wait(self, stage_number: int, rows: int) -> None:
        """Count completed rows that came to wait for a child, or (negative) wait no longer."""
        self._counts[stage_number]["waiting"] += rows

    def write(self, statements: Statements) -> None:
        """Add the changes to what stands."""
        added = ", ".join(f"{name} = {name} + ?" for name in _MOVED)
        statements.run_each(
            f"UPDATE lineage_stages SET {added} WHERE number = ?",  # noqa: S608 - names of ours
            [
                (*(moved[name] for name in _MOVED), stage_number)
                for stage_number, moved in sorted(self._counts.items())
                if any(moved.values())
            ],
        )
        statements.run_each(
            "INSERT INTO lineage_durations (stage_number, bucket, rows) VALUES (?, ?, ?) "
            "ON CONFLICT (stage_number, bucket) DO UPDATE "
            "SET rows = lineage_durations.rows + excluded.rows",
            [
                (stage_number, bucket, number)
                for (stage_number, bucket), number in sorted(self._buckets.items())
            ],
        )

    def committed(self, stages: Mapping[StageOfExecution, StageNumber]) -> list[StageMoves]:
        """Return what was committed, for the stages it may have been in."""
        buckets: dict[int, dict[int, int]] = defaultdict(dict)
        for (stage_number, bucket), number in self._buckets.items():
            buckets[stage_number][bucket] = number
        return [
            StageMoves(
                stage,
                failed=moved["failed"],
                filtered=moved["filtered"],
                settled=moved["settled"],
                duration_us=moved["duration_us"],
                buckets=buckets[numbered.number],
            )
            for stage, numbered in stages.items()
            if numbered.number in buckets and (moved := self._counts[numbered.number])
        ]
