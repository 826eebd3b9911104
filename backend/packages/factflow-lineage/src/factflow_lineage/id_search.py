"""What finds rows by a derived id when their execution is not known: a look into every block."""

from __future__ import annotations

import sqlalchemy as sa

from factflow_lineage.tables import executions, rows


def asked(text: str) -> str:
    """Return what can be sent to a database in place of text that no stored value could equal."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def blocks() -> sa.Select[int]:
    """Return the query of all blocks there may be rows in."""
    last = sa.select(sa.func.coalesce(sa.func.max(executions.c.block), 0)).scalar_subquery()
    block = sa.select(sa.literal(0).label("block")).cte("blocks", recursive=True)
    block = block.union_all(sa.select(block.c.block + 1).where(block.c.block < last))
    return sa.select(block.c.block)


def of_message(message_id: str) -> sa.Select[int]:
    """Return the query of the numbers of a message's rows: where it enters, and on from there."""
    c = rows.c
    wanted = asked(message_id)
    first = sa.select(c.number).where(
        c.block.in_(blocks()), c.message_id == wanted, c.enters.is_not(None)
    )
    found = first.cte("of_message", recursive=True)
    following = rows.alias("following")
    found = found.union(
        sa.select(following.c.number).where(
            following.c.parent_number == found.c.number, following.c.message_id == wanted
        )
    )
    return sa.select(found.c.number)
