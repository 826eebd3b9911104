"""Finding rows by a field of their metadata, which no index knows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from factflow_lineage.errors import LineageFilterError
from factflow_lineage.id_search import asked
from factflow_lineage.json_fields import is_number, is_text, is_true_or_false
from factflow_lineage.tables import rows

_NAME = re.compile(r"[A-Za-z0-9_@:-]{1,100}(\.[A-Za-z0-9_@:-]{1,100}){0,9}")


@dataclass(frozen=True, slots=True)
class MetadataCondition:
    """A metadata field has this value: a text, or what is written so in JSON. Dots in `key` go into
    objects."""

    key: str
    value: str

    @classmethod
    def parse(cls, text: str) -> MetadataCondition:
        """Read `key=value`. Raises `LineageFilterError`."""
        key, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(key):
            raise LineageFilterError(
                f"{text[:100]!r} is no condition on metadata",
                hint="KEY=VALUE, where KEY has letters, digits, `_`, `-`, `:` and dots to go deeper",
            )
        return cls(key, value)

    def on_rows(self) -> sa.ColumnElement[bool]:
        """Return the condition on the table of rows."""
        if self.key == "input_key":  # kept as a column of its own
            return sa.func.coalesce(rows.c.input_key, "") == asked(self.value)
        keys = self.key.split(".")
        wanted = is_text(rows.c.metadata, keys, asked(self.value))
        value = _in_json(self.value)
        if isinstance(value, bool):
            return sa.or_(wanted, is_true_or_false(rows.c.metadata, keys, value=value))
        if isinstance(value, int | float):
            return sa.or_(wanted, is_number(rows.c.metadata, keys, value))
        return wanted


def _in_json(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if isinstance(value, int) and abs(value) >= 2**63 else value
