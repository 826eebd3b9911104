"""Routes that people paused: by name, in all executions, those to come included.

The row in the database is the intent. It is written before a route stops taking messages and removed
before one takes them again, so that a server that dies in between finds what was asked of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from factflow_engine.config.models import NAME_PATTERN
from factflow_engine.manager import OrchestratorManager
from factflow_execution.execution_events import Event, ExecutionEvents
from factflow_execution.tables import route_pauses
from factflow_foundation.clock import Clock, SystemClock
from factflow_foundation.crash_points import reach
from factflow_protocols.errors import FactflowError


class RouteNameError(FactflowError):
    """The name is none that a route can have, so pausing it would never have an effect."""

    code: ClassVar[str] = "invalid_request"

    def __init__(self, route_id: str) -> None:
        super().__init__(
            f"{route_id!r} cannot be the name of a route", hint="factflow pipeline list"
        )


@dataclass(frozen=True, slots=True)
class RoutePause:
    """Since when (Unix seconds) a route is paused, who asked for it, and why; as far as it was said."""

    route_id: str
    paused_at: float
    paused_by: str | None = None
    reason: str | None = None


class RoutePauses:
    """Pauses and resumes routes. `load` is to be awaited before the first execution starts."""

    def __init__(
        self,
        engine: AsyncEngine,
        manager: OrchestratorManager,
        clock: Clock | None = None,
        events: ExecutionEvents | None = None,
    ) -> None:
        self._events = events or ExecutionEvents(engine)
        self._engine = engine
        self._manager = manager
        self._clock = clock or SystemClock()

    async def load(self) -> None:
        """Put into force what was asked of an earlier process."""
        for pause in await self.all():
            self._manager.pause(pause.route_id)

    async def all(self) -> list[RoutePause]:
        """Return the routes that are paused, by name."""
        query = select(route_pauses).order_by(route_pauses.c.route_id)
        async with self._engine.connect() as connection:
            return [RoutePause(**row) for row in (await connection.execute(query)).mappings()]

    async def pause(
        self, route_id: str, *, reason: str | None = None, paused_by: str | None = None
    ) -> RoutePause:
        """Have a route take no more messages until it is resumed; what it has in hand goes on.

        Pausing again keeps the time of the first pause, and takes over reason and name when they are
        given. Raises `RouteNameError`.
        """
        if not NAME_PATTERN.fullmatch(route_id):
            raise RouteNameError(route_id)
        this = route_pauses.c.route_id == route_id
        async with self._engine.begin() as connection:
            row = (await connection.execute(select(route_pauses).where(this))).mappings().first()
            if row is None:
                pause = RoutePause(route_id, self._clock.now(), paused_by, reason)
                await connection.execute(route_pauses.insert().values(asdict(pause)))
            else:
                before = RoutePause(**row)
                pause = replace(
                    before,
                    paused_by=paused_by or before.paused_by,
                    reason=reason or before.reason,
                )
                await connection.execute(update(route_pauses).where(this).values(asdict(pause)))
            told = await self._add_events(connection, "route_paused", route_id, asdict(pause))
            reach("route.pause.before")
        reach("route.pause.after")
        self._manager.pause(route_id)
        self._tell(told)
        return pause

    async def resume(self, route_id: str) -> bool:
        """Have a route take messages again; False when it was not paused."""
        query = delete(route_pauses).where(route_pauses.c.route_id == route_id)
        async with self._engine.begin() as connection:
            found = (await connection.execute(query)).rowcount > 0
            told = await self._add_events(connection, "route_resumed", route_id) if found else []
            reach("route.resume.before")
        reach("route.resume.after")
        self._manager.resume(route_id)
        self._tell(told)
        return found

    async def _add_events(
        self,
        connection: AsyncConnection,
        kind: str,
        route_id: str,
        pause: dict[str, Any] | None = None,
    ) -> list[str]:
        """Write an event for each execution that runs the route; return their ids."""
        data = {"route_id": route_id}
        for name in ("paused_by", "reason"):
            if pause is not None:
                data[name] = pause[name]
        running = [
            execution_id
            for execution_id in self._manager.running()
            if any(route.route_id == route_id for route in self._manager.runtime(execution_id))
        ]
        for execution_id in running:
            event = Event(kind, self._clock.now(), data)
            await self._events.add(connection, execution_id, event)
        return running

    def _tell(self, execution_ids: list[str]) -> None:
        for execution_id in execution_ids:
            self._events.tell(execution_id)
