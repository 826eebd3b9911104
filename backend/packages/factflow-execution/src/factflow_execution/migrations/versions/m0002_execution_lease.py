"""Which server runs an execution, for how long, and for the how-many-th time that is decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table of leases, empty."""
    op.create_table(
        "execution_lease",
        sa.Column("execution_id", sa.String(36), primary_key=True),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_index("ix_execution_lease_owner", "execution_lease", ["owner"])
