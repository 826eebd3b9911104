"""What the ledger's statements are put together from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from factflow_infra.queue.ledger.tables import messages

IDS_PER_STATEMENT = 500

T = TypeVar("T")


def parts(items: Sequence[T]) -> Iterator[list[T]]:
    """Cut what may be long into what fits one statement."""
    for first in range(0, len(items), IDS_PER_STATEMENT):
        yield list(items[first : first + IDS_PER_STATEMENT])


def among(scope_id: int) -> Any:
    """Choose the messages of a scope whose ids are given as `ids`."""
    return (messages.c.scope == scope_id) & messages.c.message_id.in_(
        bindparam("ids", expanding=True)
    )


def dialect_insert(connection: AsyncConnection) -> Any:
    """Both say ON CONFLICT alike, and SQLAlchemy has it per dialect."""
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
