"""Writers of one PostgreSQL database take turns, by transaction.

A batch gives its rows the numbers behind the last ones, looks for parents and orphans, and decides by
what stands; a second batch under way would see none of it. Besides, the outcome log promises that no
number appears below one that was read, so numbers must become visible in the order they are given, which
sequences do not do. The price: however many servers and workers write, lineage grows no faster than one
of them could write it, a few ten thousand rows in a second. A turn takes as long as its batch, some
hundredths of a second, and costs one more round trip; nobody but writers of lineage waits for it.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

LONGEST_WAIT = "10s"
"""For a turn, or for tables that somebody else holds. Then the batch is tried again later, and health
says why meanwhile."""
LONGEST_SILENCE = "10s"
"""Of a writer in the middle of its turn, before the database closes its connection: one that is frozen
or cut off must not keep the others waiting."""

_LIMIT = sa.text(
    "SELECT set_config('lock_timeout', :wait, false), "
    "set_config('idle_in_transaction_session_timeout', :silence, false), "
    # A plan made while the tables were small may be kept until they are large.
    "set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false), "
    # A turn that waited must see what was committed meanwhile.
    "set_config('default_transaction_isolation', 'read committed', false)"
)
_TAKE_TURN = sa.text(
    "SELECT pg_advisory_xact_lock(hashtextextended('lineage in ' || current_schema(), 0))"
)


async def limit_waits(connection: AsyncConnection) -> None:
    """Prepare a connection that nobody else will use: it neither waits nor keeps others waiting for long."""
    if connection.dialect.name == "postgresql":
        async with connection.begin():
            await connection.execute(_LIMIT, {"wait": LONGEST_WAIT, "silence": LONGEST_SILENCE})


async def take_turn(connection: AsyncConnection) -> None:
    """Keep other writers of these tables out until the transaction ends, and wait for them before.

    SQLite has one writer at a time by itself.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(_TAKE_TURN)
