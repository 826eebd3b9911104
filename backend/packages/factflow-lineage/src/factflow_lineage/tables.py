"""The lineage tables, for SQLite and PostgreSQL alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_foundation.records import ErrorInfo
from factflow_lineage.models import PipelineLineageEntry, error_fields

schema = sa.MetaData()

rows = sa.Table(
    "lineage_rows",
    schema,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("execution_id", sa.Text, nullable=False),
    sa.Column("route_id", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("adapter_version", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("origin_id", sa.Text, nullable=False),
    sa.Column("parent_id", sa.Text),
    sa.Column("replayed_from", sa.Text),
    sa.Column("root_id", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("input_hash", sa.Text),
    sa.Column("output_hash", sa.Text),
    sa.Column("input_key", sa.Text),
    sa.Column("output_key", sa.Text),
    sa.Column("output_count", sa.BigInteger, nullable=False),
    sa.Column("pending_children", sa.BigInteger, nullable=False),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("completed_at", sa.Double),
    sa.Column("duration_ms", sa.Double),
    sa.Column("batch_id", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
)

_failed = rows.c.status == "failed"
_batched = rows.c.batch_id.is_not(None)
sa.Index("lineage_rows_by_execution", rows.c.execution_id, rows.c.started_at, rows.c.id)
sa.Index("lineage_rows_by_time", rows.c.started_at, rows.c.id)
sa.Index("lineage_rows_by_parent", rows.c.parent_id)
sa.Index("lineage_rows_by_message", rows.c.message_id)
sa.Index(
    "lineage_rows_failed",
    rows.c.completed_at,
    rows.c.id,
    sqlite_where=_failed,
    postgresql_where=_failed,
)
sa.Index(
    "lineage_rows_failed_by_execution",
    rows.c.execution_id,
    rows.c.completed_at,
    rows.c.id,
    sqlite_where=_failed,
    postgresql_where=_failed,
)
sa.Index("lineage_rows_by_batch", rows.c.batch_id, sqlite_where=_batched, postgresql_where=_batched)

COUNTED = ("pending", "processing", "completed", "failed", "cancelled", "filtered", "settled")
"""Rows by status; of the committed ones also those filtered, and those that settled their message."""


def _stage_columns() -> list[sa.Column[str]]:
    names = ("execution_id", "route_id", "stage", "adapter")
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


counters = sa.Table(
    "lineage_counters",
    schema,
    *_stage_columns(),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTED),
    sa.Column("duration_us", sa.BigInteger, nullable=False),
)

durations = sa.Table(
    "lineage_durations",
    schema,
    *_stage_columns(),
    sa.Column("bucket", sa.Integer, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)


async def create_schema(database: AsyncEngine | AsyncConnection) -> None:
    """Create the tables and indexes that are missing; on a connection, in its transaction."""
    if isinstance(database, AsyncConnection):
        await database.run_sync(schema.create_all)
        return
    async with database.begin() as connection:
        await connection.run_sync(schema.create_all)


async def schema_is_missing(connection: AsyncConnection) -> bool:
    """Tell whether the database holds no lineage tables (a new file, or a lost one)."""
    return not await connection.run_sync(lambda sync: sa.inspect(sync).has_table(rows.name))


def row_values(entry: PipelineLineageEntry, pending_children: int) -> dict[str, Any]:
    """Return an entry as column values that every database takes.

    Text from outside may hold NUL or lone surrogates, numbers may be infinite: no database stores
    these, so they become a replacement character and null. Metadata that is no JSON is replaced by
    the reason. Documents are JSON text.
    """
    return {
        "id": entry.id,
        "execution_id": entry.execution_id,
        "route_id": entry.route_id,
        "stage": entry.stage,
        "adapter": entry.adapter,
        "adapter_version": entry.adapter_version,
        "message_id": entry.message_id,
        "origin_id": entry.origin_id,
        "parent_id": entry.parent_id,
        "replayed_from": entry.replayed_from,
        "root_id": entry.root_id,
        "status": entry.status,
        "outcome": entry.outcome,
        "attempts": entry.attempts,
        "generation": entry.generation,
        "input_hash": entry.input_hash,
        "output_hash": entry.output_hash,
        "input_key": _text(entry.input_key),
        "output_key": _text(entry.output_key),
        "output_count": entry.output_count,
        "pending_children": pending_children,
        "error": None if entry.error is None else _document(error_fields(entry.error)),
        "started_at": _number(entry.started_at) or 0.0,
        "completed_at": _number(entry.completed_at),
        "duration_ms": _number(entry.duration_ms),
        "batch_id": _text(entry.batch_id),
        "metadata": _document(entry.metadata),
    }


def entry_from_row(row: Any) -> PipelineLineageEntry:
    """Return a selected row (all columns of `rows`) as an entry with its effective status."""
    fields = dict(row._mapping)
    if fields["status"] == "completed" and fields["pending_children"] > 0:
        fields["status"] = "processing"
    error = fields["error"]
    fields["error"] = None if error is None else msgspec.convert(error, ErrorInfo)
    return PipelineLineageEntry(**fields)


def _text(text: str | None) -> str | None:
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def _number(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _document(value: Mapping[str, Any]) -> str:
    try:
        encoded = msgspec.json.encode(value, enc_hook=str)
    except UnicodeEncodeError:
        return _document(_scrubbed(value))
    except (TypeError, ValueError, RecursionError) as error:
        return _document({"unstorable": f"{type(error).__name__}: {error}"[:200]})
    return encoded.replace(rb"\u0000", rb"\ufffd").decode()


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_scrubbed(key): _scrubbed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(item) for item in value]
    return value
