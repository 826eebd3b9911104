"""Who claimed a message, how many attempts it had, and which queues the broker has: for scopes that several
processes work on.

What an earlier ledger named was made at the broker right after, so it counts as made.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    made = sa.Column("made", sa.SmallInteger, nullable=False, server_default="1")
    op.add_column("queue_name", made)
    claimant = sa.Column("claimant", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("queue_message", claimant)
    laps = sa.Column("laps", sa.SmallInteger, nullable=False, server_default="0")
    op.add_column("queue_message", laps)
