"""Who claimed a message, a process that does not own the scope, of which others can tell whether it lives;
and how often a message was replaced by its next attempt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; what is claimed now was claimed by an owner."""
    op.add_column(
        "queue_message", sa.Column("laps", sa.SmallInteger, nullable=False, server_default="0")
    )
    op.add_column("queue_message", sa.Column("claimant", sa.BigInteger))
