"""The tables of configs and executions, for SQLite and PostgreSQL. Times are Unix seconds.

A config's text lives in its versions, none of which is ever changed; `configs` points at the newest.
`executions.config_snapshot` is a copy on purpose: nothing done to a config reaches an execution.

A change of a table is a migration, too: `schema`.
"""

from __future__ import annotations

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
    text,
)

metadata = MetaData()

_Count = BigInteger().with_variant(Integer, "sqlite")
"""What may outgrow 32 bits. SQLite's integers have 64 anyway, and only under this name is one a row's id."""

configs = Table(
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

config_versions = Table(
    "pipeline_config_version",
    metadata,
    Column("config_id", String(36), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("config_yaml", Text, nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
)

executions = Table(
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
    Column("message_count", _Count),
    Column("failed_count", _Count),
    Column("warning", Text),
    Column("lineage_gap", _Count, nullable=False, default=0),
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

execution_holds = Table(
    "execution_hold",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("holder_id", String(36), primary_key=True),
    Column("taken_at", Float, nullable=False),
    Index("ix_execution_hold_holder", "holder_id"),
)

execution_events = Table(
    "execution_event",
    metadata,
    Column("number", _Count, primary_key=True),
    Column("execution_id", String(36), nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("data", JSON, nullable=False),
    Index("ix_execution_event_execution", "execution_id", "number"),
    sqlite_autoincrement=True,  # the number of an event that was deleted is not given again
)

execution_deletions = Table(
    "execution_deletion",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("requested_at", Float, nullable=False),
    Column("counted_at", Float),
    Column("deleted_at", Float),
    Column("tag", String(128)),
    Column("objects", _Count, nullable=False),
    Column("bytes", _Count, nullable=False),
    Column("lineage_rows", _Count, nullable=False),
    Index(
        "ix_execution_deletion_unfinished",
        "requested_at",
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
)

execution_usages = Table(
    "execution_usage",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("objects", _Count, nullable=False),
    Column("records", _Count, nullable=False),
    Column("bytes", _Count, nullable=False),
    Column("disk_bytes", _Count, nullable=False),
    Column("counted_at", Float, nullable=False),
)

execution_leases = Table(
    "execution_lease",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("owner", String(128), nullable=False),
    Column("epoch", _Count, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("ix_execution_lease_owner", "owner"),
)

route_pauses = Table(
    "route_pause",
    metadata,
    Column("route_id", String(128), primary_key=True),
    Column("paused_at", Float, nullable=False),
    Column("paused_by", Text),
    Column("reason", Text),
    Column("until", Float),
)

workers = Table(
    "worker",
    metadata,
    Column("worker_id", String(64), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("routes", JSON(none_as_null=True)),  # NULL: all
    Column("concurrency", Integer),  # NULL: as the pipeline says
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("holding", JSON, nullable=False),
)

worker_shares = Table(
    "worker_share",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("worker_id", String(64), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # working, rested, refused
    Column("reason", Text),
    Column("missing_rows", _Count, nullable=False),
    Index("ix_worker_share_worker", "worker_id"),
)

server_questions = Table(
    "server_question",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("server", String(128), nullable=False),  # who is asked
    Column("asker", String(128), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("execution_id", String(36), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("answer", Text),  # NULL: none yet; empty: the server cannot say
    Index("ix_server_question_server", "server"),
)
