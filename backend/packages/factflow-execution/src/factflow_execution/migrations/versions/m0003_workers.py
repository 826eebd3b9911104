"""Processes that work on executions they do not own, and which executions each works on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables of workers and their shares, empty."""
    count = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "worker",
        sa.Column("worker_id", sa.String(64), primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("routes", sa.JSON(none_as_null=True)),
        sa.Column("concurrency", sa.Integer),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.Column("holding", sa.JSON, nullable=False),
    )
    op.create_table(
        "worker_share",
        sa.Column("execution_id", sa.String(36), primary_key=True),
        sa.Column("worker_id", sa.String(64), primary_key=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("missing_rows", count, nullable=False),
    )
    op.create_index("ix_worker_share_worker", "worker_share", ["worker_id"])
