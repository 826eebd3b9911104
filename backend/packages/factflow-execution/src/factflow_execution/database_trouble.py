"""What a database raises when the trouble is its own, and asking again later may help."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

DATABASE_TROUBLE = (OperationalError, PoolTimeoutError)
"""A database that cannot be reached, is locked, full or stopping; all connections lent for too long."""


def reason_of(error: BaseException) -> str:
    """Return what the database said, without the statement it was told."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig)
    return str(error)
