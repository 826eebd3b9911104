"""Which file holds what, below the root of a filesystem store.

    <root>/<key><extension>      an object; its *name* is key + extension
    <root>/<key>~2<extension>    an object whose first choice of name was taken
    <root>/<key>.meta.json       the record of the key

A record is shared by all names that `record_key` maps to one key: the last segment is cut at its first
dot, and `~<number>` before that is dropped (leading dots stay). Message ids hold neither, so there it
undoes exactly what a write added. Other keys follow the same rule: `notes/a.v1` and `notes/a.v2` share
the record of `notes/a`; give dots through `extension` and keep keys free of them.
"""

from __future__ import annotations

import re

from factflow_foundation.keys import MAX_SEGMENT_BYTES, check_key
from factflow_protocols.errors import KeyRefusedError

RECORD_SUFFIX = ".meta.json"
TEMP_PREFIX = ".factflow-tmp-"

_PLAIN_EXTENSION = re.compile(r"(?:\.[a-z0-9]{1,10})?")
_STEM = re.compile(r"(\.*[^.]+?)(?:~[0-9]+)?(?:\..*)?", re.DOTALL)
_UNLISTABLE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


def record_key(name: str) -> str:
    """Return the key whose record belongs to an object name (or to a key)."""
    folder, slash, segment = name.rpartition("/")
    if "." not in segment and "~" not in segment:
        return name
    stem = _STEM.fullmatch(segment)
    return f"{folder}{slash}{stem.group(1)}" if stem else name


def numbered_name(key: str, number: int, extension: str) -> str:
    """Return the object name of the n-th choice: the plain one, then `key~2`, `key~3`, …"""
    return f"{key}{extension}" if number == 1 else f"{key}~{number}{extension}"


def check_write(key: str, extension: str) -> None:
    """Raise `KeyRefusedError` unless an object of this key and extension may be written."""
    check_key(key)
    if extension and (not extension.startswith(".") or "/" in extension):
        raise KeyRefusedError(
            f"extension {extension!r} of storage key {key!r} must start with a dot and hold no slash"
        )
    name = key + extension
    short = len(name) <= MAX_SEGMENT_BYTES and name.isascii()
    if not (short and _PLAIN_EXTENSION.fullmatch(extension)):  # else it can add nothing wrong
        check_key(name)
    if not is_object_name(name):
        raise KeyRefusedError(
            f"storage key {name!r} has a segment that ends in {RECORD_SUFFIX} or starts with "
            f"{TEMP_PREFIX}; the store keeps those names for itself"
        )


def is_object_name(name: str) -> bool:
    """Tell whether a valid key may name an object, as against a record or an unfinished file."""
    if RECORD_SUFFIX not in name and TEMP_PREFIX not in name:
        return True
    return not any(
        segment.endswith(RECORD_SUFFIX) or segment.startswith(TEMP_PREFIX)
        for segment in name.split("/")
    )


def is_listable(file_name: str) -> bool:
    """Tell whether a file name found on disk can be part of a key; strangers' files may not."""
    return not (file_name.startswith(TEMP_PREFIX) or _UNLISTABLE.search(file_name))
