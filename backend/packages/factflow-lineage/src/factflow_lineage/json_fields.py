"""Conditions on the fields of a JSON document, which mean the same in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_NUMBERS = ("integer", "real", "number")


def is_text(document: Any, keys: Sequence[str], text: str) -> sa.ColumnElement[bool]:
    """Return the condition that a field is this text, or a number that is written so."""
    # SQLite gives 1 and 0 as the texts of true and false.
    found = sa.case(
        (_kind(document, keys).in_(("true", "false")), sa.false()),
        else_=_field(document, keys).as_string() == text,
    )
    return sa.func.coalesce(found, sa.false())


def is_number(document: Any, keys: Sequence[str], number: float) -> sa.ColumnElement[bool]:
    """Return the condition that a field is a number of this value."""
    # In this order, as PostgreSQL cannot ask a text for its number.
    found = sa.case(
        (_kind(document, keys).in_(_NUMBERS), _field(document, keys).as_float() == number),
        else_=sa.false(),
    )
    return sa.func.coalesce(found, sa.false())


def is_true_or_false(document: Any, keys: Sequence[str], *, value: bool) -> sa.ColumnElement[bool]:
    """Return the condition that a field is true, or false, and no number or text."""
    kind, told = _kind(document, keys), str(value).lower()
    # SQLite has a kind for each of the two.
    found = sa.or_(
        kind == told, sa.and_(kind == "boolean", _field(document, keys).as_string() == told)
    )
    return sa.func.coalesce(found, sa.false())


def holds(document: Any, keys: Sequence[str], part: str) -> sa.ColumnElement[bool]:
    """Return the condition that a field has this part, whatever the case."""
    return _folded(_field(document, keys).as_string()).contains(part.lower(), autoescape=True)


def _field(document: Any, keys: Sequence[str]) -> Any:
    # Key by key: of a whole path PostgreSQL would take digits for places in a list.
    for key in keys:
        document = document[key]
    return document


class _kind(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """What JSON a field is: its document, then its name. SQLite tells more kinds than PostgreSQL."""

    type = sa.Text()
    inherit_cache = True

    def __init__(self, document: Any, keys: Sequence[str]) -> None:
        *above, last = keys
        held = _field(document, above)
        super().__init__(held, sa.literal(last), held[last])


@compiles(_kind, "sqlite")
def _kind_in_sqlite(element: _kind, compiler: Any, **how: Any) -> str:
    held, name = (compiler.process(clause, **how) for clause in list(element.clauses)[:2])
    return f"json_type({held}, '$.\"' || {name} || '\"')"


@compiles(_kind, "postgresql")
def _kind_in_postgresql(element: _kind, compiler: Any, **how: Any) -> str:
    *_, field = element.clauses
    return f"json_typeof({compiler.process(field, **how)})"


class _folded(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """A text in small letters, of all alphabets."""

    type = sa.Text()
    inherit_cache = True


@compiles(_folded, "sqlite")
def _folded_in_sqlite(element: _folded, compiler: Any, **how: Any) -> str:
    return f"lower({compiler.process(element.clauses, **how)})"


@compiles(_folded, "postgresql")
def _folded_in_postgresql(element: _folded, compiler: Any, **how: Any) -> str:
    # A database made for the C locale folds ASCII only, unless a collation tells how.
    return f'lower(({compiler.process(element.clauses, **how)}) COLLATE "und-x-icu")'
