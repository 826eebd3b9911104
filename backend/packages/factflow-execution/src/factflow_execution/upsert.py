"""Inserting or changing a row as one statement, which SQLite and PostgreSQL write alike."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

Upsert = postgresql.Insert | sqlite.Insert


def upsert(dialect: str, table: Table) -> Upsert:
    """Return an insert that knows `on_conflict_do_update`, for an engine's dialect."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
