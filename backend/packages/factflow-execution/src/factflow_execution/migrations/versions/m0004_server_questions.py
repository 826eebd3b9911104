"""What servers ask each other about executions that another one runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table of questions, empty."""
    op.create_table(
        "server_question",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("server", sa.String(128), nullable=False),
        sa.Column("asker", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("execution_id", sa.String(36), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("answer", sa.Text),
    )
    op.create_index("ix_server_question_server", "server_question", ["server"])
