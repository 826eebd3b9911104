"""What a worker process does: follows all executions that run, and says that it is there.

It is told of changes, and looks at everything again from time to time and whenever it may have missed a word.
"""

from __future__ import annotations

import asyncio
import contextlib

from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.followed_execution import FollowedExecution, WorkerParts
from factflow_execution.route_pauses import paused_routes
from factflow_execution.workers import BEAT_SECONDS, Worker
from factflow_foundation import logs
from factflow_foundation.notifications import Notifications

LOOK_SECONDS = 30.0
"""How often everything is looked at, should a word have been lost."""

log = logs.logger(__name__)


class WorkerService:
    """Runs from `start` to `stop`. `worker` is how others know this process."""

    def __init__(self, parts: WorkerParts, worker: Worker, notifications: Notifications) -> None:
        self._parts = parts
        self._worker = worker
        self._notifications = notifications
        self._followed: dict[str, FollowedExecution] = {}
        self._everything = asyncio.Event()
        self._pauses = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._listening = contextlib.ExitStack()

    async def start(self) -> None:
        """Say that it is there, and begin to follow executions. Raises what the database says."""
        await self._parts.workers.enter(self._worker)
        await self._put_pauses_in_force()
        listen = self._notifications.listen
        self._listening.callback(listen("execution", self._told_execution))
        self._listening.callback(listen("rest", self._told_rest))
        self._listening.callback(listen("pauses", lambda _: self._pauses.set()))
        self._everything.set()
        for name, run in (
            ("beat", self._beat),
            ("look", self._look),
            ("pauses", self._follow_pauses),
        ):
            self._tasks.append(asyncio.create_task(run(), name=f"worker {name}"))

    async def stop(self, grace_seconds: float) -> None:
        """Take no more; what is in hand may end within the grace period, the rest goes to others."""
        self._stopping = True
        self._listening.close()
        beat, *others = self._tasks
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        closing = [followed.close(grace_seconds) for followed in self._followed.values()]
        await asyncio.gather(*closing)
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)
        with contextlib.suppress(*DATABASE_TROUBLE):  # then it is found to be gone
            await self._parts.workers.leave(self._worker.worker_id)

    # -- inside

    def _told_execution(self, execution_id: str | None) -> None:
        if execution_id is None:
            self._everything.set()
        elif not self._stopping:
            self._follow(execution_id).look()

    def _told_rest(self, subject: str | None) -> None:
        """An owner is about to end an execution, `ID GRACE_SECONDS`; it asks again until it is answered."""
        execution_id, _, grace = (subject or "").partition(" ")
        followed = self._followed.get(execution_id)
        if followed is not None:
            followed.rest(float(grace or 0))

    def _follow(self, execution_id: str) -> FollowedExecution:
        followed = self._followed.get(execution_id)
        if followed is None:
            followed = self._followed[execution_id] = FollowedExecution(
                execution_id,
                self._parts,
                on_rested=lambda rested: self._notifications.tell("rested", rested),
                on_gone=self._gone,
            )
        return followed

    def _gone(self, execution_id: str) -> None:
        self._followed.pop(execution_id, None)

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._everything.wait()
            self._everything.clear()
            try:
                running = await self._parts.repository.with_status("running")
            except DATABASE_TROUBLE as error:
                log.warning("executions cannot be looked for", reason=reason_of(error))
                await asyncio.sleep(BEAT_SECONDS)
                self._everything.set()
                continue
            for execution_id in {*running, *self._followed}:
                self._follow(execution_id).look()
            self._pauses.set()

    async def _follow_pauses(self) -> None:
        while True:
            await self._pauses.wait()
            self._pauses.clear()
            try:
                await self._put_pauses_in_force()
            except DATABASE_TROUBLE as error:
                log.warning("pauses cannot be looked for", reason=reason_of(error))
                await asyncio.sleep(BEAT_SECONDS)
                self._pauses.set()

    async def _put_pauses_in_force(self) -> None:
        in_force = self._parts.services.paused_routes
        wanted = await paused_routes(self._parts.workers.engine)
        begun, over = wanted - in_force, in_force - wanted
        in_force |= begun
        in_force -= over
        for followed in self._followed.values():
            if followed.joined is not None:
                for route_id in begun:
                    followed.joined.routes.pause(route_id)
                for route_id in over:
                    followed.joined.routes.resume(route_id)

    async def _beat(self) -> None:
        while True:
            holding = {
                f"{one.execution_id}/{route_id}": reason
                for one in self._followed.values()
                if one.joined is not None
                for route_id, reason in one.joined.routes.holding().items()
            }
            try:
                if not await self._parts.workers.beat(self._worker.worker_id, holding):
                    await self._parts.workers.enter(self._worker)
                    self._everything.set()
            except DATABASE_TROUBLE as error:
                log.warning("the database is in trouble", reason=reason_of(error))
            await asyncio.sleep(BEAT_SECONDS)
