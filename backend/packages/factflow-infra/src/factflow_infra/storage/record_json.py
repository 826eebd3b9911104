"""Records as local stores keep them: JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from factflow_protocols.errors import RecordDamagedError, StorageError


def encode_record(key: str, metadata: Mapping[str, Any], output_key: str | None) -> bytes:
    """Return the JSON of the metadata, with `output_key` in it unless that is None.

    Raises `StorageError` when the metadata is no JSON.
    """
    fields = dict(metadata)
    if output_key is not None:
        fields["output_key"] = output_key
    try:
        return msgspec.json.encode(fields)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise StorageError(
            f"the metadata of {key!r} cannot be stored as JSON: {error}",
            hint="give numbers, text, lists and objects with text keys only",
        ) from error


def decode_record(key: str, data: bytes) -> dict[str, Any]:
    """Return a record's fields. Raises `RecordDamagedError` when they cannot be read."""
    try:
        fields = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordDamagedError(key, str(error)) from error
    if not isinstance(fields, dict):
        raise RecordDamagedError(key, "it is no JSON object")
    return fields
