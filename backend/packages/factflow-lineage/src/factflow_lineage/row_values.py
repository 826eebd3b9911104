"""An entry as the values of its row, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from factflow_foundation.records import ErrorInfo
from factflow_lineage.hex_text import packed, packed_or_none
from factflow_lineage.models import PipelineLineageEntry, error_fields
from factflow_lineage.stage_numbers import StageNumber
from factflow_lineage.tables import executions, rows, stages

COLUMNS = (
    *("number", "block", "execution_number", "stage_number", "id", "message_id", "parent_id"),
    *("parent_number", "enters", "origin_id", "root_id", "replayed_from", "adapter_version"),
    *("status", "unfinished", "outcome", "attempts", "generation", "input_hash", "output_hash"),
    *("input_key", "output_key", "output_size", "content_type", "output_count"),
    *("pending_children", "error", "started_at", "completed_at", "duration_ms", "batch_id"),
    "metadata",
)
"""The order of `row_values`."""

_INTERNAL = frozenset(
    {
        *("number", "block", "execution_number", "stage_number", "parent_number"),
        *("enters", "unfinished"),
    }
)


def row_values(
    entry: PipelineLineageEntry,
    *,
    number: int,
    stage: StageNumber,
    packed_id: bytes,
    parent_number: int | None,
    enters: bool,
    pending_children: int,
) -> tuple[Any, ...]:
    """Return an entry's values, as every database takes them, with what an entry itself does not know:
    where its row stands among the others.

    Text from outside may hold NUL or lone surrogates, numbers may be infinite: no database stores
    these, so they become a replacement character and null. Metadata that is no JSON is replaced by
    the reason. Documents are JSON text.
    """
    error, status = entry.error, entry.status
    return (
        number,
        stage.block,
        stage.execution_number,
        stage.number,
        packed_id,
        packed(entry.message_id),
        packed_or_none(entry.parent_id),
        parent_number,
        1 if enters else None,
        packed(entry.origin_id),
        packed_or_none(entry.root_id),
        packed_or_none(entry.replayed_from),
        entry.adapter_version,
        status,
        unfinished(status, pending_children),
        entry.outcome,
        entry.attempts,
        entry.generation,
        packed_or_none(entry.input_hash),
        packed_or_none(entry.output_hash),
        _text(entry.input_key),
        _text(entry.output_key),
        entry.output_size,
        _text(entry.content_type),
        entry.output_count,
        pending_children,
        None if error is None else _document(error_fields(error)),
        _number(entry.started_at) or 0.0,
        _number(entry.completed_at),
        _number(entry.duration_ms),
        _text(entry.batch_id),
        _document(_without_input_key(entry)),
    )


def unfinished(status: str, pending_children: int) -> int | None:
    """Return what the column of this name says of such a row."""
    done = status == "failed" or (status == "completed" and not pending_children)
    return None if done else 1


def entries_query() -> sa.Select[Any]:
    """Return the query of whole rows, to be narrowed."""
    columns = [column for column in rows.c if column.name not in _INTERNAL]
    named = (executions.c.execution_id, stages.c.route_id, stages.c.stage, stages.c.adapter)
    return (
        sa.select(*columns, *named)
        .join(stages, stages.c.number == rows.c.stage_number)
        .join(executions, executions.c.number == rows.c.execution_number)
    )


def entry_from_row(row: Any) -> PipelineLineageEntry:
    """Return a row of `entries_query` as an entry with its effective status."""
    fields = {name: value for name, value in row._mapping.items() if name not in _INTERNAL}
    if fields["status"] == "completed" and fields["pending_children"] > 0:
        fields["status"] = "processing"
    error = fields["error"]
    fields["error"] = None if error is None else msgspec.convert(error, ErrorInfo)
    if fields["input_key"] is not None:
        fields["metadata"].setdefault("input_key", fields["input_key"])
    return PipelineLineageEntry(**fields)


def _without_input_key(entry: PipelineLineageEntry) -> Mapping[str, Any]:
    """Leave out of the metadata what the row says already; reading puts it back."""
    metadata = entry.metadata
    if entry.input_key is None or metadata.get("input_key") != entry.input_key:
        return metadata
    rest = metadata.copy()
    del rest["input_key"]
    return rest


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
