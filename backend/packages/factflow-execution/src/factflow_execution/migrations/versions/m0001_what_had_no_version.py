"""The tables as they were when databases began to have versions.

Earlier databases had none, and were extended at each start by what they lacked. So this makes of any of
them, and of an empty one, what the last of those starts made. The tables are a copy: those of today may
differ.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    text,
)
from sqlalchemy.schema import CreateColumn

revision = "0001"
down_revision = None

metadata = MetaData()
Count = BigInteger().with_variant(Integer, "sqlite")

Table(
    "pipeline_config",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("description", Text),
    Column("source_type", String(16), nullable=False),
    Column("source_path", Text),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Index("ix_pipeline_config_created", "created_at", "id"),
)

Table(
    "pipeline_config_version",
    metadata,
    Column("config_id", String(36), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("config_yaml", Text, nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
)

Table(
    "pipeline_execution",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("config_id", String(36)),
    Column("config_name", Text, nullable=False),
    Column("config_version", Integer),
    Column("config_hash", String(64), nullable=False),
    Column("config_snapshot", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("completed_at", Float),
    Column("parent_execution_id", String(36)),
    Column("replay_source", JSON(none_as_null=True)),
    Column("tag", String(128)),
    Column("source", String(16), nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("error_info", JSON(none_as_null=True)),
    Column("message_count", Count),
    Column("failed_count", Count),
    Column("warning", Text),
    Column("lineage_gap", Count, nullable=False, default=0),
    Column("recoveries", Integer, nullable=False, default=0),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("skip_init", Boolean, nullable=False, default=False),
    Column("generation", Integer, nullable=False, default=1, server_default="1"),
    Column("last_recovery", JSON(none_as_null=True)),
    Column("trigger_context", JSON(none_as_null=True)),
    Column("idempotency_key", String(255)),
    Column("request_hash", String(64)),
    UniqueConstraint("tag", name="uq_pipeline_execution_tag"),
    Index("uq_pipeline_execution_idempotency", "idempotency_key", unique=True),
    Index("ix_pipeline_execution_started", "started_at", "execution_id"),
    Index("ix_pipeline_execution_status", "status", "started_at", "execution_id"),
)

Table(
    "execution_hold",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("holder_id", String(36), primary_key=True),
    Column("taken_at", Float, nullable=False),
    Index("ix_execution_hold_holder", "holder_id"),
)

Table(
    "execution_event",
    metadata,
    Column("number", Count, primary_key=True),
    Column("execution_id", String(36), nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("data", JSON, nullable=False),
    Index("ix_execution_event_execution", "execution_id", "number"),
    sqlite_autoincrement=True,  # the number of an event that was deleted is not given again
)

Table(
    "execution_deletion",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("requested_at", Float, nullable=False),
    Column("counted_at", Float),
    Column("deleted_at", Float),
    Column("tag", String(128)),
    Column("objects", Count, nullable=False),
    Column("bytes", Count, nullable=False),
    Column("lineage_rows", Count, nullable=False),
    Index(
        "ix_execution_deletion_unfinished",
        "requested_at",
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
)

Table(
    "execution_usage",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("objects", Count, nullable=False),
    Column("records", Count, nullable=False),
    Column("bytes", Count, nullable=False),
    Column("disk_bytes", Count, nullable=False),
    Column("counted_at", Float, nullable=False),
)

Table(
    "route_pause",
    metadata,
    Column("route_id", String(128), primary_key=True),
    Column("paused_at", Float, nullable=False),
    Column("paused_by", Text),
    Column("reason", Text),
    Column("until", Float),
)


def upgrade() -> None:
    """Create what is missing: tables, columns, indexes."""
    connection = op.get_bind()
    metadata.create_all(connection)
    existing = inspect(connection)
    for table in metadata.tables.values():
        known = {column["name"] for column in existing.get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                definition = CreateColumn(column).compile(dialect=connection.dialect)
                op.execute(f"ALTER TABLE {table.name} ADD COLUMN {definition}")
        for index in table.indexes:
            index.create(connection, checkfirst=True)
