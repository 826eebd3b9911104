"""What happened to an execution as a whole, kept in the database beside its status.

An event is written in the transaction of the change that it tells of, so that there is neither without the
other. They are few: a start, an end, and what people and restarts did between.

Whoever follows an execution goes on behind the last number it was told. So an execution's events are
committed in the order of their numbers: whoever writes one holds the execution's row until the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import RowMapping, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_execution.models import ExecutionStatus
from factflow_execution.tables import execution_events as events
from factflow_execution.tables import executions
from factflow_foundation.changes import Changes
from factflow_foundation.notifications import Notifications
from factflow_foundation.whole import whole
from factflow_lineage.errors import EventUnknownError

STATUS = "status"
"""The topic under which listeners are told of an event, and of what else may end a stream."""
BEGINNING = "0"
END = "end"
IDS_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `at` is in Unix seconds; `number` only grows, and is 0 of one that is not stored."""

    kind: str
    at: float
    data: dict[str, Any] = field(default_factory=dict)
    number: int = 0


def ending(status: ExecutionStatus, at: float, values: Mapping[str, Any]) -> Event:
    """Return the event of an end, with what the row says of it, or of an interruption."""
    told = ("message_count", "failed_count", "warning", "error_info")
    data = {"status": status, **{name: values.get(name) for name in told}}
    return Event("interrupted" if status == "interrupted" else END, at, data)


class ExecutionEvents:
    """Writes events in other people's transactions, and reads them."""

    def __init__(
        self,
        engine: AsyncEngine,
        changes: Changes | None = None,
        notifications: Notifications | None = None,
    ) -> None:
        self._engine = engine
        self._changes = changes or Changes()
        self._notifications = notifications

    @staticmethod
    async def add(connection: AsyncConnection, execution_id: str, event: Event) -> None:
        """Write an event; `tell` of it once the transaction is committed.

        The transaction has changed the execution's row before, or holds it by `hold_rows`.
        """
        await connection.execute(
            events.insert().values(
                execution_id=execution_id, at=event.at, kind=event.kind, data=event.data
            )
        )

    @staticmethod
    async def hold_rows(connection: AsyncConnection, execution_ids: Iterable[str]) -> None:
        """Have nobody else change these executions, or write events of them, before the commit."""
        wanted = sorted(set(execution_ids))  # in one order, so that no two wait for each other
        for first in range(0, len(wanted), IDS_TOGETHER):
            await connection.execute(
                select(executions.c.execution_id)
                .where(executions.c.execution_id.in_(wanted[first : first + IDS_TOGETHER]))
                .order_by(executions.c.execution_id)
                .with_for_update(key_share=True)
            )

    def tell(self, execution_id: str) -> None:
        """Wake those who follow an execution, here and in other processes."""
        self._changes.tell(execution_id, STATUS)
        if self._notifications is not None:
            self._notifications.tell("execution", execution_id)

    async def after(self, execution_id: str, number: int) -> list[Event]:
        """Return an execution's events behind a number, in the order they were written."""
        query = select(events.c.kind, events.c.at, events.c.data, events.c.number)
        query = query.where(events.c.execution_id == execution_id, events.c.number > number)
        return [Event(**row) for row in await whole(self._read(query.order_by(events.c.number)))]

    async def place(self, execution_id: str, name: str) -> Event | None:
        """Return the event with this number as text, None for the place before the first.

        Raises `EventUnknownError` when it is none of this execution's.
        """
        if name == BEGINNING:
            return None
        if not (name.isascii() and name.isdigit() and len(name) < 19):
            raise EventUnknownError(name)
        query = select(events.c.kind, events.c.at, events.c.data, events.c.number)
        this = events.c.number == int(name), events.c.execution_id == execution_id
        found = await whole(self._read(query.where(*this)))
        if not found:
            raise EventUnknownError(name)
        return Event(**found[0])

    async def _read(self, query: Select[Any]) -> list[RowMapping]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).mappings())
