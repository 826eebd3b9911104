"""Where a listing goes on: the place of its last row, as a text that means something to us alone."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any, NamedTuple

import msgspec

from factflow_lineage.errors import LineageFilterError

LARGEST_NUMBER = 2**63 - 1


class Position(NamedTuple):
    """A row's place in an order: what it is sorted by, and its number among those of the same value."""

    value: float
    number: int


def encode(order: str, position: Position) -> str:
    """Return the cursor that goes on behind a place in the order of this name."""
    written = msgspec.json.encode([order, position.value, position.number])
    return base64.urlsafe_b64encode(written).rstrip(b"=").decode()


def decode(order: str, cursor: str) -> Position:
    """Return the place that a cursor stands for. Raises `LineageFilterError` for any other text, and for
    the cursor of a listing in another order."""
    try:
        written = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        told: Any = msgspec.json.decode(written, type=tuple[str, float, int])
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise LineageFilterError(
            "the cursor is none of a listing", hint="take the next_cursor of the page before"
        ) from error
    name, value, number = told
    if name != order or not math.isfinite(value) or not 0 <= number <= LARGEST_NUMBER:
        raise LineageFilterError(
            "the cursor is of a listing in another order", hint="begin again without a cursor"
        )
    return Position(value, number)
