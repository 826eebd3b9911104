"""One batch of rows, with all it moves, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_lineage.completeness import CountedRow, count_pending, lower
from factflow_lineage.counters import CounterMoves
from factflow_lineage.hex_text import packed
from factflow_lineage.late_ends import LateEnd, insert_late_ends, last_number
from factflow_lineage.models import COMMITTED, PipelineLineageEntry, rank, replaces
from factflow_lineage.parents import (
    Adopted,
    RowKey,
    StandingRow,
    adopt,
    complete_children,
    standing_rows,
)
from factflow_lineage.row_values import COLUMNS, row_values
from factflow_lineage.stage_numbers import (
    StageNumber,
    StageOfExecution,
    number_stages,
    stage_of,
)
from factflow_lineage.statements import Statements, in_transaction
from factflow_lineage.tallies import StageMoves
from factflow_lineage.turns import take_turn


async def write_batch(
    connection: AsyncConnection, entries: Sequence[PipelineLineageEntry]
) -> list[StageMoves]:
    """Write entries (ids all different) inside the caller's transaction; return what was committed.

    Rows that what stands outranks are left out (see `models.replaces`), so the same batch a second
    time changes nothing. Counters and `pending_children` follow in the same transaction, which keeps other
    writers out until its end.
    """
    await take_turn(connection)
    return await in_transaction(connection, lambda statements: write_entries(statements, entries))


def write_entries(
    statements: Statements, entries: Sequence[PipelineLineageEntry]
) -> list[StageMoves]:
    """Write entries; see `write_batch`. The transaction must keep other writers of lineage out: they
    would give the same numbers, and a parent and its child committed at once would miss each other."""
    batch = _Batch(statements, entries)
    batch.write()
    return batch.committed()


class _Row:
    """An entry that is to be written, and what becomes known of its row step by step."""

    __slots__ = ("enters", "entry", "key", "number", "parent_number", "stage", "stood")

    def __init__(
        self,
        entry: PipelineLineageEntry,
        key: RowKey,
        stage: StageNumber,
        number: int,
        *,
        stood: bool,
    ) -> None:
        self.entry = entry
        self.key = key
        self.stage = stage
        self.number = number
        self.stood = stood
        self.parent_number: int | None = None
        self.enters = True


class _Batch:
    """The rows of one transaction."""

    def __init__(self, statements: Statements, entries: Sequence[PipelineLineageEntry]) -> None:
        self._statements = statements
        self._moves = CounterMoves()
        self._standing: dict[RowKey, StandingRow] = {}
        self._rows: dict[RowKey, _Row] = {}
        self._late_ends: list[LateEnd] = []
        self._stages: dict[StageOfExecution, StageNumber] = {}
        self._take(entries)

    def write(self) -> None:
        """Write the rows and all they move."""
        rows = list(self._rows.values())
        adopted = self._adopt(rows)
        self._find_parents(rows)
        committed = self._count_children(rows, adopted)
        standing = {row.number: row for row in self._standing.values()}
        lowered = count_pending(self._statements, committed, standing)
        self._count_waiting(rows, committed, lowered)
        self._statements.insert(
            "lineage_rows",
            COLUMNS,
            _values([row for row in rows if not row.stood], committed),
        )
        self._replace([row for row in rows if row.stood], committed)
        insert_late_ends(self._statements, self._late_ends)
        lower(self._statements, lowered)
        self._moves.write(self._statements)

    def committed(self) -> list[StageMoves]:
        """Return what the batch committed, by stage."""
        return self._moves.committed(self._stages)

    def _take(self, entries: Sequence[PipelineLineageEntry]) -> None:
        """Take in what is to be written, and count it in and what it replaces out."""
        named = [stage_of(entry) for entry in entries]
        self._stages = numbered = number_stages(self._statements, named)
        stages = [numbered[stage] for stage in named]
        keys = [
            (stage.block, packed(entry.id)) for stage, entry in zip(stages, entries, strict=True)
        ]
        self._standing = standing = standing_rows(self._statements, keys)
        last = last_number(self._statements)
        moves = self._moves
        for entry, key, stage in zip(entries, keys, stages, strict=True):
            old = standing.get(key)
            if old is None:
                last += 1
                self._rows[key] = _Row(entry, key, stage, last, stood=False)
            elif replaces(_rank(entry), _rank(old)):
                moves.leave(old.stage_number, old.status)
                self._rows[key] = _Row(entry, key, stage, old.number, stood=True)
                if entry.committed:
                    last += 1
                    self._late_ends.append((last, old.number, stage.execution_number))
            else:
                continue
            moves.enter(stage.number, entry)

    def _adopt(self, rows: Sequence[_Row]) -> Adopted:
        """Let the new rows have their orphans; what was read of these before is brought up to date."""
        adopted = adopt(self._statements, [(row.key, row.number) for row in rows if not row.stood])
        if adopted.parents:
            for key, row in self._standing.items():
                parent = adopted.parents.get(row.number, row.parent_number)
                self._standing[key] = row._replace(parent_number=parent)
        return adopted

    def _find_parents(self, rows: Sequence[_Row]) -> None:
        """Find out which row each stands below, in the batch or in the database."""
        below: list[tuple[_Row, RowKey]] = []
        for row in rows:
            parent_id = row.entry.parent_id
            if parent_id is None:
                continue
            key = row.stage.block, packed(parent_id)
            parent = self._rows.get(key)
            if parent is None:
                below.append((row, key))
            else:
                row.parent_number = parent.number
                row.enters = parent.entry.message_id != row.entry.message_id
        missing = {key for _, key in below} - self._standing.keys()
        self._standing |= standing_rows(self._statements, missing)
        for row, key in below:
            standing = self._standing.get(key)
            if standing is not None:
                row.parent_number = standing.number
                row.enters = standing.message_id != packed(row.entry.message_id)

    def _count_children(self, rows: Sequence[_Row], adopted: Adopted) -> dict[int, CountedRow]:
        """Return the rows that turn committed, with how many children each still waits for."""
        waited = [row.number for row in rows if row.stood and row.entry.expected_children > 0]
        known = adopted.complete | complete_children(self._statements, waited)
        return {
            row.number: CountedRow(
                row.parent_number,
                max(0, row.entry.expected_children - (known[row.number] if known else 0)),
                row.entry.status,
            )
            for row in rows
            if row.entry.status in COMMITTED
        }

    def _count_waiting(
        self,
        rows: Sequence[_Row],
        committed: Mapping[int, CountedRow],
        lowered: Mapping[int, CountedRow],
    ) -> None:
        for row in rows:
            if row.entry.status == "completed" and committed[row.number].pending:
                self._moves.wait(row.stage.number, 1)
        for counted in lowered.values():
            if counted.status == "completed" and not counted.pending:
                self._moves.wait(counted.stage_number, -1)

    def _replace(self, rows: Sequence[_Row], committed: Mapping[int, CountedRow]) -> None:
        """Write entries over the rows that stand."""
        columns = ", ".join(f"{name} = ?" for name in COLUMNS)
        self._statements.run_each(
            f"UPDATE lineage_rows SET {columns} WHERE number = ?",  # noqa: S608 - names of ours
            [(*values, values[0]) for values in _values(rows, committed)],
        )


def _rank(row: PipelineLineageEntry | StandingRow) -> tuple[int, int, int, float] | None:
    return rank(row.status, row.generation, row.attempts, row.started_at)


def _values(rows: Sequence[_Row], committed: Mapping[int, CountedRow]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        counted = committed.get(row.number)
        pending = 0 if counted is None else counted.pending
        yield row_values(
            row.entry,
            number=row.number,
            stage=row.stage,
            packed_id=row.key[1],
            parent_number=row.parent_number,
            enters=row.enters,
            pending_children=pending,
        )
