"""How executions stand at this moment, whichever server runs them.

What only the process that runs an execution knows, its routes above all, is asked of that one. Alone on its
database, a server knows all there is to know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from factflow_engine.config.issues import ConfigurationError
from factflow_engine.execution_spec import RouteRuntime
from factflow_engine.manager import OrchestratorManager
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.lease_keeper import LeaseKeeper
from factflow_execution.models import PipelineExecution
from factflow_execution.server_questions import PATIENCE_SECONDS, ServerQuestions
from factflow_execution.snapshot import snapshot_config

LIVE = "live"
"""The kind of question that is answered with a `Live`."""
FRESH_SECONDS = 0.25
"""How long an answer is good for: a page asks for several things of one execution at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What is so of an execution now: its routes, how many items its publisher has announced, and how many
    messages a route settled in a second of the last minute. `silent` is the server that runs it and did not
    answer; of each route then only that is told."""

    routes: tuple[RouteRuntime, ...] = ()
    published: int | None = None
    per_second: Mapping[str, float] = field(default_factory=dict)
    silent: str | None = None


@dataclass(slots=True)
class OtherServers:
    """What it takes to ask the server that runs an execution."""

    repository: ExecutionRepository
    leases: LeaseKeeper
    questions: ServerQuestions

    async def owner_of(self, execution_id: str) -> str | None:
        """Return the other server that has an execution; None when none has, or this one."""
        owner = await self.leases.owner_of(execution_id)
        return None if owner == self.questions.server_id else owner

    async def ask(self, owner: str, what: str, execution_id: str, **parameters: Any) -> str | None:
        """Return what the owner answers to a kind of question, None when it does not."""
        return await self.questions.ask(owner, what, execution_id, parameters)


class Runtimes:
    """Answers for this server's executions from memory, and for those of `others` by asking them."""

    def __init__(self, manager: OrchestratorManager, others: OtherServers | None = None) -> None:
        self._manager = manager
        self.others = others
        self._fresh: dict[str, tuple[float, Live]] = {}
        if others is not None:
            others.questions.answerers[LIVE] = self._answer

    async def of(self, execution: PipelineExecution) -> Live:
        """Return how an execution stands; without routes when it ended, or when no server has it."""
        if execution.ended:
            return Live()
        here = self.here(execution.execution_id)
        if here.routes or self.others is None:
            return here
        owner = await self.others.owner_of(execution.execution_id)
        return here if owner is None else await self._ask(self.others, owner, execution)

    def here(self, execution_id: str) -> Live:
        """Return how an execution stands as far as it runs in this process."""
        routes = self._manager.runtime(execution_id)
        pace = self._manager.per_second
        return Live(
            routes=tuple(routes),
            published=self._manager.published(execution_id),
            per_second={one.route_id: pace(execution_id, one.route_id) for one in routes},
        )

    async def of_all(self, execution_ids: Sequence[str]) -> list[Live]:
        """Return how several executions stand, those that are gone without routes; together they take no
        longer than one."""
        return await asyncio.gather(*(self._of_id(execution_id) for execution_id in execution_ids))

    async def running(self, route_id: str | None = None) -> list[str]:
        """Return the executions that run, on any server, oldest first; those with a route of this name."""
        if self.others is None:
            return [
                execution_id
                for execution_id in self._manager.running()
                if route_id is None
                or any(one.route_id == route_id for one in self._manager.runtime(execution_id))
            ]
        running = await self.others.repository.with_status("running")
        if route_id is None:
            return running
        return [one for one in running if await self._has_route(self.others, one, route_id)]

    # -- inside

    async def _of_id(self, execution_id: str) -> Live:
        here = self.here(execution_id)
        if here.routes or self.others is None:
            return here
        execution = await self.others.repository.get(execution_id)
        return Live() if execution is None else await self.of(execution)

    async def _has_route(self, others: OtherServers, execution_id: str, route_id: str) -> bool:
        routes = self._manager.runtime(execution_id)
        if routes:
            return any(one.route_id == route_id for one in routes)
        execution = await others.repository.get(execution_id)
        return execution is not None and await asyncio.to_thread(has_route, execution, route_id)

    async def _ask(self, others: OtherServers, owner: str, execution: PipelineExecution) -> Live:
        execution_id = execution.execution_id
        at, live = self._fresh.get(execution_id, (0.0, Live()))
        if time.monotonic() - at < FRESH_SECONDS:
            return live
        answer = await others.ask(owner, LIVE, execution_id)
        if answer is not None:
            live = msgspec.json.decode(answer, type=Live)
        else:
            live = Live(routes=await asyncio.to_thread(_unknown, execution, owner), silent=owner)
        now = time.monotonic()
        old = [key for key, (at, _) in self._fresh.items() if now - at >= FRESH_SECONDS]
        for key in old:
            del self._fresh[key]
        self._fresh[execution_id] = now, live
        return live

    async def _answer(self, execution_id: str, _: Mapping[str, Any]) -> str:
        return msgspec.json.encode(self.here(execution_id)).decode()


def silent_words(owner: str) -> str:
    """Return what a person is told of a server that did not answer."""
    return f"server {owner}, which runs it, did not answer within {PATIENCE_SECONDS:g} s"


def has_route(execution: PipelineExecution, route_id: str) -> bool:
    """Tell whether an execution's pipeline has a route of this name."""
    try:
        return route_id in snapshot_config(execution.config_snapshot).routes
    except ConfigurationError:
        return False


def _unknown(execution: PipelineExecution, owner: str) -> tuple[RouteRuntime, ...]:
    try:
        routes = snapshot_config(execution.config_snapshot).routes
    except ConfigurationError:
        return ()
    return tuple(
        RouteRuntime(
            route_id=route_id,
            name=route.name or route_id,
            queue=route.inbound.queue,
            state="running",
            in_flight=0,
            ready=0,
            delayed=0,
            holding=silent_words(owner),
            served_here=False,
        )
        for route_id, route in routes.items()
    )
