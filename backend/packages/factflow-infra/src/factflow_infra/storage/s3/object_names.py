"""What lies in a bucket, by its names: the same ones as among plain files (`layout.py`)."""

from __future__ import annotations

from factflow_infra.storage.layout import RECORD_SUFFIX, TEMP_PREFIX, is_object_name, record_key
from factflow_protocols.errors import KeyRefusedError

MAX_NAME_BYTES = 1024
"""Of S3, the store's prefix included."""


def owner_of(name: str) -> str:
    """Return the key whose record a name is, or is shared by."""
    if name.endswith(RECORD_SUFFIX):
        return name.removesuffix(RECORD_SUFFIX)
    return record_key(name)


def is_record(name: str) -> bool:
    """Tell whether a name is that of a record."""
    return name.endswith(RECORD_SUFFIX) and is_object_name(name.removesuffix(RECORD_SUFFIX))


def is_ours(name: str) -> bool:
    """Tell whether a name is that of an object or a record, as against what the store keeps for itself."""
    if RECORD_SUFFIX not in name and TEMP_PREFIX not in name:
        return True
    return is_record(name) or is_object_name(name)


def check_length(prefix: str, key: str, extension: str) -> None:
    """Raise `KeyRefusedError` unless object and record of a key fit into S3's names."""
    longest = max(len(extension.encode()), len(RECORD_SUFFIX)) + len("~99")
    length = len(prefix.encode()) + 1 + len(key.encode()) + longest
    if length > MAX_NAME_BYTES:
        raise KeyRefusedError(
            f"storage key {key!r} needs up to {length} bytes with the store's prefix; "
            f"S3 takes {MAX_NAME_BYTES}",
            hint="begin another data folder with a shorter prefix in --storage-uri",
        )
