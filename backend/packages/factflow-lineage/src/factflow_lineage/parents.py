"""Which row a row of a batch stands below, and which rows have waited for it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from factflow_lineage.models import StageStatus
from factflow_lineage.statements import Statements

RowKey = tuple[int, bytes]
"""A row's block and packed id. A parent is in its child's execution, and so in its block."""


class StandingRow(NamedTuple):
    """A row in the database, as far as a batch needs to know it."""

    number: int
    stage_number: int
    message_id: bytes
    parent_number: int | None
    enters: int | None
    status: StageStatus
    generation: int
    attempts: int
    started_at: float
    pending_children: int


_STANDING = ", ".join(StandingRow._fields)


def standing_rows(statements: Statements, keys: Iterable[RowKey]) -> dict[RowKey, StandingRow]:
    """Return those rows that stand in the database."""
    return {
        (block, row_id): StandingRow(*values)
        for block, ids in _by_block(keys).items()
        for row_id, *values in statements.fetch_in(
            f"SELECT id, {_STANDING} FROM lineage_rows WHERE block = ? AND id IN ({{}})",  # noqa: S608 - names of ours
            [block],
            ids,
        )
    }


def numbered_rows(statements: Statements, numbers: Iterable[int]) -> dict[int, StandingRow]:
    """Return rows by their numbers."""
    found = statements.fetch_in(
        f"SELECT {_STANDING} FROM lineage_rows WHERE number IN ({{}})",  # noqa: S608 - names of ours
        [],
        numbers,
    )
    return {row.number: row for row in (StandingRow(*values) for values in found)}


class Adopted(NamedTuple):
    """Which rows, by number, were told their parent's, and how many complete ones each parent got."""

    parents: dict[int, int]
    complete: Counter[int]


def adopt(statements: Statements, new: Collection[tuple[RowKey, int]]) -> Adopted:
    """Tell the orphans of new rows, given with their numbers, who their parent is."""
    numbers = dict(new)
    adopted = Adopted({}, Counter())
    for block, ids in _by_block(numbers).items():
        for parent_id, number, is_complete in statements.fetch_in(
            "SELECT parent_id, number, status IN ('completed', 'failed') AND pending_children = 0 "
            "FROM lineage_rows WHERE block = ? AND parent_id IN ({}) "
            "AND parent_number IS NULL AND parent_id IS NOT NULL",
            [block],
            ids,
        ):
            parent_number = adopted.parents[number] = numbers[block, parent_id]
            if is_complete:
                adopted.complete[parent_number] += 1
    statements.run_each(
        "UPDATE lineage_rows SET parent_number = ? WHERE number = ?",
        [(parent, number) for number, parent in adopted.parents.items()],
    )
    return adopted


def complete_children(statements: Statements, parents: Collection[int]) -> Counter[int]:
    """Return how many complete children rows have, by number."""
    found = statements.fetch_in(
        "SELECT parent_number, count(*) FROM lineage_rows WHERE parent_number IN ({}) "
        "AND status IN ('completed', 'failed') AND pending_children = 0 GROUP BY parent_number",
        [],
        parents,
    )
    return Counter(dict(found))


def _by_block(keys: Iterable[RowKey]) -> dict[int, list[bytes]]:
    blocks: dict[int, list[bytes]] = defaultdict(list)
    for block, row_id in keys:
        blocks[block].append(row_id)
    return blocks
