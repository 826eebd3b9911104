"""Routes that people paused: by name, in all executions, those to come included.

The row in the database is the intent. It is written before a route stops taking messages and removed
before one takes them again, so that a server that dies in between finds what was asked of it. A pause
with an end ends by itself: one timer waits for the earliest, and a server that was down by then ends it
when it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import ReturningInsert

from factflow_engine.config.models import NAME_PATTERN
from factflow_engine.manager import OrchestratorManager
from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.execution_events import Event, ExecutionEvents
from factflow_execution.runtimes import Runtimes
from factflow_execution.tables import route_pauses
from factflow_execution.upsert import upsert
from factflow_foundation import logs
from factflow_foundation.clock import Clock, SystemClock
from factflow_foundation.crash_points import reach
from factflow_foundation.notifications import Notifications
from factflow_protocols.errors import FactflowError

LONGEST_SLEEP = 60.0
"""Seconds after which the clock is looked at again while a pause has an end: it may have been set, or the
machine may have slept."""
RETRY_SECONDS = 5.0
"""How long to wait when the database could not note that a pause is over."""

_log = logs.logger(__name__)


class RouteNameError(FactflowError):
    """The name is none that a route can have, so pausing it would never have an effect."""

    code: ClassVar[str] = "invalid_request"

    def __init__(self, route_id: str) -> None:
        super().__init__(
            f"{route_id!r} cannot be the name of a route", hint="factflow pipeline list"
        )


class PauseOverError(FactflowError):
    """The end that was given for a pause has passed already."""

    code: ClassVar[str] = "invalid_request"

    def __init__(self) -> None:
        super().__init__(
            "`until` lies in the past: the pause would be over at once",
            hint="give a time to come, with its time zone, or none for a pause without end",
        )


@dataclass(frozen=True, slots=True)
class RoutePause:
    """Since when (Unix seconds) a route is paused, who asked for it, why, and until when; as far as it was
    said."""

    route_id: str
    paused_at: float
    paused_by: str | None = None
    reason: str | None = None
    until: float | None = None


class RoutePauses:
    """Pauses and resumes routes. `load` is to be awaited before the first execution starts."""

    def __init__(
        self,
        engine: AsyncEngine,
        manager: OrchestratorManager,
        clock: Clock | None = None,
        events: ExecutionEvents | None = None,
        *,
        notifications: Notifications | None = None,
        runtimes: Runtimes | None = None,
    ) -> None:
        self._events = events or ExecutionEvents(engine)
        self._engine = engine
        self._manager = manager
        self._clock = clock or SystemClock()
        self._notifications = notifications
        self._runtimes = runtimes or Runtimes(manager)
        self._in_force: set[str] = set()
        self._turn = asyncio.Lock()
        """So that what is in force here is never behind what was read before."""
        self._listening = contextlib.ExitStack()
        self._timer: asyncio.TimerHandle | None = None
        self._again = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Put into force what was asked of an earlier process, but for what is over by now."""
        await self._end_due()
        if self._runtimes.others is not None and self._notifications is not None:
            # Other servers pause and resume, too.
            self._listening.callback(self._notifications.listen("pauses", lambda _: self._wake()))
        await self._put_in_force()

    async def close(self) -> None:
        """Let the timer go; pauses stay as they are."""
        self._listening.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait({self._ending})

    async def all(self) -> list[RoutePause]:
        """Return the routes that are paused, by name."""
        query = select(route_pauses).order_by(route_pauses.c.route_id)
        async with self._engine.connect() as connection:
            return [RoutePause(**row) for row in (await connection.execute(query)).mappings()]

    async def pause(
        self,
        route_id: str,
        *,
        reason: str | None = None,
        paused_by: str | None = None,
        until: float | None = None,
    ) -> RoutePause:
        """Have a route take no more messages until it is resumed, or until a time (Unix seconds); what it
        has in hand goes on.

        Pausing again keeps the time of the first pause, takes over reason and name when they are given,
        and ends as was asked last. Raises `RouteNameError` and `PauseOverError`.
        """
        if until is not None and until <= self._clock.now():
            raise PauseOverError
        if not NAME_PATTERN.fullmatch(route_id):
            raise RouteNameError(route_id)
        asked = RoutePause(route_id, self._clock.now(), paused_by or None, reason or None, until)
        async with self._turn:
            async with self._engine.begin() as connection:
                query = _pause_or_pause_again(self._engine.dialect.name, asked)
                pause = RoutePause(**(await connection.execute(query)).mappings().one())
                told = await self._add_events(connection, "route_paused", route_id, asdict(pause))
                reach("route.pause.before")
            reach("route.pause.after")
            self._pause(route_id)
        await self._set_timer()
        self._tell(told)
        return pause

    async def resume(self, route_id: str) -> bool:
        """Have a route take messages again; False when it was not paused."""
        async with self._turn:
            found, told = await self._remove(route_pauses.c.route_id == route_id)
            self._resume(route_id)
        self._tell(told)
        return bool(found)

    async def _end_due(self) -> None:
        """End the pauses whose time has come."""
        async with self._turn:
            ended, told = await self._remove(route_pauses.c.until <= self._clock.now())
            for route_id in ended:
                _log.warning("pause is over", route=route_id)
                self._resume(route_id)
        if ended:
            self._tell(told)

    async def _put_in_force(self) -> None:
        """Have the routes paused that the rows name, and no others, whichever server wrote them."""
        async with self._turn:
            wanted = {pause.route_id for pause in await self.all()}
            for route_id in wanted - self._in_force:
                self._pause(route_id)
            for route_id in self._in_force - wanted:
                self._resume(route_id)
        await self._set_timer()

    def _pause(self, route_id: str) -> None:
        self._in_force.add(route_id)
        self._manager.pause(route_id)

    def _resume(self, route_id: str) -> None:
        self._in_force.discard(route_id)
        self._manager.resume(route_id)

    async def _remove(self, which: ColumnElement[bool]) -> tuple[list[str], list[str]]:
        """Delete rows; return the routes they paused, and the executions that have an event of it."""
        query = delete(route_pauses).where(which).returning(route_pauses.c.route_id)
        async with self._engine.begin() as connection:
            found = list((await connection.execute(query)).scalars())
            told = [
                execution_id
                for route_id in found
                for execution_id in await self._add_events(connection, "route_resumed", route_id)
            ]
            if found:
                reach("route.resume.before")
        if found:
            reach("route.resume.after")
        return found, told

    async def _set_timer(self) -> None:
        """Have the timer go off at the end of the pause that ends first."""
        ends = [pause.until for pause in await self.all() if pause.until is not None]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if ends:
            self._sleep(min(max(min(ends) - self._clock.now(), 0.0), LONGEST_SLEEP))

    def _sleep(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._again.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ending is None or self._ending.done():
            self._ending = asyncio.create_task(self._look(), name="ends of pauses")

    async def _look(self) -> None:
        """End what is over, and follow what others did; a database in trouble is asked again a little
        later."""
        try:
            while self._again.is_set():
                self._again.clear()
                await self._end_due()
                await self._put_in_force()
        except DATABASE_TROUBLE as error:
            _log.warning("a pause cannot be ended yet", reason=reason_of(error))
            self._sleep(RETRY_SECONDS)

    async def _add_events(
        self,
        connection: AsyncConnection,
        kind: str,
        route_id: str,
        pause: dict[str, Any] | None = None,
    ) -> list[str]:
        """Write an event for each execution that runs the route, on any server; return their ids."""
        data = {"route_id": route_id}
        for name in ("paused_by", "reason"):
            if pause is not None:
                data[name] = pause[name]
        running = await self._runtimes.running(route_id)
        await self._events.hold_rows(connection, running)
        for execution_id in running:
            event = Event(kind, self._clock.now(), data)
            await self._events.add(connection, execution_id, event)
        return running

    def _tell(self, execution_ids: list[str]) -> None:
        if self._notifications is not None:
            self._notifications.tell("pauses", "*")
        for execution_id in execution_ids:
            self._events.tell(execution_id)


async def paused_routes(engine: AsyncEngine) -> set[str]:
    """Return the names of the routes that are paused."""
    async with engine.connect() as connection:
        return set((await connection.execute(select(route_pauses.c.route_id))).scalars())


def _pause_or_pause_again(dialect: str, asked: RoutePause) -> ReturningInsert[Any]:
    """Return the statement that enters a pause, or changes the one that stands; it gives the row."""
    insert = upsert(dialect, route_pauses).values(asdict(asked))
    return insert.on_conflict_do_update(
        index_elements=[route_pauses.c.route_id],
        set_={
            "paused_by": func.coalesce(insert.excluded.paused_by, route_pauses.c.paused_by),
            "reason": func.coalesce(insert.excluded.reason, route_pauses.c.reason),
            "until": insert.excluded.until,
        },
    ).returning(*route_pauses.c)
