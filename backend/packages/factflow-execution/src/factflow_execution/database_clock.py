"""The time that processes on one database agree on: the database's own."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Float, cast, extract, func, literal
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation.clock import Clock


def database_now(engine: AsyncEngine, clock: Clock) -> ColumnElement[float]:
    """Return an expression for now (Unix seconds), at the moment it is computed.

    A file has one server, whose `clock` is taken.
    """
    if engine.dialect.name == "postgresql":
        return cast(extract("epoch", func.clock_timestamp()), Float)
    return literal(clock.now())
