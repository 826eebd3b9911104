"""The tables as the first ledger had them. They are a copy: those of today may differ."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables, empty."""
    op.create_table(
        "queue_scope",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("execution_id", sa.String(64), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("owner_epoch", sa.BigInteger, nullable=False),
        sa.Column("publisher", sa.SmallInteger, nullable=False),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("clean", sa.SmallInteger, nullable=False),
        sa.Column("crashed", sa.SmallInteger, nullable=False),
        sa.Column("doomed", sa.SmallInteger, nullable=False),
        sa.Column("boot", sa.Text),
        sa.UniqueConstraint("execution_id", "generation", name="uq_queue_scope_name"),
    )
    op.create_table(
        "queue_name",
        sa.Column("scope", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("announced", sa.BigInteger, nullable=False),
        sa.Column("settled", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "queue_message",
        sa.Column("scope", sa.Integer, primary_key=True),
        sa.Column("message_id", sa.String(255), primary_key=True),
        sa.Column("queue", sa.String(200), nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("claimed", sa.SmallInteger, nullable=False),
        sa.Column("crashes", sa.SmallInteger, nullable=False),
    )
