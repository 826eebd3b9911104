"""Numbers for rows that were written before their outcome was, and turned committed later.

Most rows are written once, committed, and their number says when. A row of a stage that lasted was there
before; its end gets a number of its own, out of the same ones. So committed outcomes have an order that
only grows, at no cost for those that are written once.
"""

from __future__ import annotations

from collections.abc import Sequence

from factflow_lineage.statements import Statements

LateEnd = tuple[int, int, int]
"""Its number, the row's, and the execution's."""


def last_number(statements: Statements) -> int:
    """Return the highest number given so far, to a row or to a late end."""
    ((last,),) = statements.fetch(
        "SELECT coalesce(max(number), 0) FROM (SELECT max(number) AS number FROM lineage_rows "
        "UNION ALL SELECT max(number) FROM lineage_late_ends) AS numbers"
    )
    return int(last)


def insert_late_ends(statements: Statements, ends: Sequence[LateEnd]) -> None:
    """Write late ends."""
    if ends:
        statements.insert("lineage_late_ends", ("number", "row_number", "execution_number"), ends)
