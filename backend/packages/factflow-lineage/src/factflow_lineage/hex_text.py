"""Ids and hashes in half the space: 32 or 64 hex digits are kept as the 16 or 32 bytes they stand for.

Every row names six ids and two hashes and is found by three of them, so their size decides how many index
entries share a page. Any other text is kept too, behind a byte that no text begins with.
"""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa

_DIGITS = frozenset({32, 64})
_BYTES = frozenset({16, 32})
_MARK = b"\xff"  # never occurs in UTF-8


@functools.lru_cache(maxsize=4096)  # a row names its message, its parent and what it read once more
def packed(text: str) -> bytes:
    """Return what stands for a text in the database; different texts have different bytes.

    Texts of hex digits sort as before. Raises ValueError for lone surrogates.
    """
    if len(text) in _DIGITS:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if raw.hex() == text:
            return raw
    raw = _MARK + text.encode()
    return raw + _MARK if len(raw) in _BYTES else raw


def packed_or_none(text: str | None) -> bytes | None:
    """Return what stands for a text, None for none."""
    return None if text is None else packed(text)


def unpacked(raw: bytes) -> str:
    """Return the text that bytes stand for."""
    if raw.startswith(_MARK) and len(raw) not in _BYTES:
        return raw.strip(_MARK).decode()
    return raw.hex()


class HexText(sa.TypeDecorator[str]):
    """A column of ids or hashes; text on the outside, bytes in the database."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> bytes | None:  # noqa: ARG002
        """Return the bytes to store or to look for."""
        return packed_or_none(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        """Return the text of what was stored."""
        return None if value is None else unpacked(value)
