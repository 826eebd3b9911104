"""One execution as a worker follows it: joined while it runs, left when it is to rest, joined again when it
has new queues or what kept the worker from it is over.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.config.models import PipelineGlobalConfig
from factflow_engine.execution_spec import ExecutionSpec, StopRequest
from factflow_engine.joined_execution import JoinedExecution
from factflow_engine.registry import AdapterRegistry
from factflow_engine.route_context import EngineServices
from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.launch_checks import check_code, check_variables
from factflow_execution.launch_forms import spec_of
from factflow_execution.models import PipelineExecution
from factflow_execution.workers import Share, ShareState, Workers
from factflow_foundation import logs
from factflow_protocols.errors import FactflowError, QueueError, QueueUnavailableError

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between tries to join an execution whose queues are not there yet, or cannot be reached."""
OPEN_PAUSE = 30.0
"""Seconds before adapters that did not open are tried again."""
REST_SECONDS = 30.0
"""How long rest lasts before the execution is looked at again: whoever asked for it may have died."""
CANCEL_GRACE = 10.0
FLUSH_SECONDS = 2.0

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker works with. `concurrency` is laid over that of every route; None: as the YAML says."""

    worker_id: str
    workers: Workers
    repository: ExecutionRepository
    loader: PipelineConfigLoader
    registry: AdapterRegistry
    services: EngineServices
    concurrency: int | None = None
    allow_private_networks: bool = False


class FollowedExecution:
    """A task that looks at the execution's row whenever `look` is called, and does what that asks for.

    It ends by itself, and calls `on_gone`, when there is nothing more to follow.
    """

    def __init__(
        self,
        execution_id: str,
        parts: WorkerParts,
        *,
        on_rested: Callable[[str], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self.execution_id = execution_id
        self.joined: JoinedExecution | None = None
        self.refused: str | None = None
        """Why it is not worked on here, though it runs."""
        self._parts = parts
        self._on_rested = on_rested
        self._on_gone = on_gone
        self._refused_generation = 0
        self._resting: float | None = None
        """The grace period, once its owner asked for rest."""
        self._rests_until = 0.0
        self._again = asyncio.Event()
        self._stop: StopRequest = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=f"follow {execution_id}")

    def look(self) -> None:
        """Look at the execution's row again."""
        self._again.set()

    def rest(self, grace_seconds: float) -> None:
        """Take no more of its messages: it is about to end."""
        self._resting = grace_seconds
        self._again.set()

    async def close(self, grace_seconds: float) -> None:
        """Leave it for good; what is in hand may end within the grace period."""
        if not self._stop.done():
            self._stop.set_result(("interrupted", grace_seconds))
        self._again.set()
        await asyncio.wait({self._task})

    # -- inside

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._again.clear()
            try:
                if self._stop.done():
                    await self._leave(self._stop.result()[1])
                    return
                wait = await self._look(pause)
            except DATABASE_TROUBLE as error:
                log.warning("the database is in trouble", reason=reason_of(error))
                wait = pause
            except Exception as error:
                log.error("not followed", execution_id=self.execution_id, exc_info=error)
                wait = LONGEST_PAUSE
            if wait == 0:
                self._on_gone(self.execution_id)
                return
            pause = min(pause * 2, LONGEST_PAUSE) if wait else FIRST_PAUSE
            await self._wait(wait)

    async def _wait(self, seconds: float | None) -> None:
        waiting: set[asyncio.Future[object]] = {asyncio.ensure_future(self._again.wait())}
        if self.joined is not None:
            waiting.add(asyncio.ensure_future(asyncio.shield(self.joined.fault)))
        _, left = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()

    async def _look(self, pause: float) -> float | None:
        """Do what the row asks for; return after how many seconds to look again, None when that is not
        before somebody says so, and 0 when there is nothing more to follow."""
        if self.joined is not None and self.joined.fault.done():
            words = f"the engine failed here: {self.joined.fault.result()!r}"
            generation = self.joined.spec.generation
            await self._leave(0.0)
            await self._refuse(generation, words)
        row = await self._parts.repository.get(self.execution_id)
        if row is None or row.ended:
            missing = await self._leave(CANCEL_GRACE)
            if row is not None:
                await self._end_share(missing)
            return 0
        if row.cancel_requested or self._resting is not None:
            grace = CANCEL_GRACE if self._resting is None else self._resting
            self._resting = None
            await self._come_to_rest(row.generation, grace)
            return REST_SECONDS
        if self.joined is not None and self.joined.spec.generation != row.generation:
            await self._leave(CANCEL_GRACE)
        if row.status != "running":
            await self._leave(CANCEL_GRACE)
            return None
        if self.joined is not None or row.generation == self._refused_generation:
            return None
        rests = self._rests_until - asyncio.get_running_loop().time()
        return rests if rests > 0 else await self._join(row, pause)

    async def _join(self, row: PipelineExecution, pause: float) -> float | None:
        try:
            config = await self._checked(row)
        except FactflowError as error:
            await self._refuse(row.generation, _words(error))
            return None
        if not any(map(self._parts.services.serves, config.routes)):
            return None
        return await self._work_on(row, config, pause)

    async def _checked(self, row: PipelineExecution) -> PipelineGlobalConfig:
        """Return what the snapshot says. Raises what keeps this process from working on it."""
        parts = self._parts
        config = await asyncio.to_thread(parts.loader.load, row.config_snapshot, row.config_name)
        check_variables(config)
        await asyncio.to_thread(check_code, parts.registry, config)
        return config

    async def _work_on(
        self, row: PipelineExecution, config: PipelineGlobalConfig, pause: float
    ) -> float | None:
        parts = self._parts
        joined = JoinedExecution(
            self._spec(row, config),
            parts.services,
            parts.registry,
            environ=os.environ,
            allow_private_networks=parts.allow_private_networks,
        )
        try:
            if not await joined.open(self._stop):
                return None
        except Exception as error:
            log.error("adapters did not open", execution_id=self.execution_id, exc_info=error)
            self.refused = f"an adapter did not open: {_words(error)}"
            await self._note("refused", row.generation, self.refused)
            return OPEN_PAUSE
        try:
            await self._note("working", row.generation)
        except BaseException:
            await joined.rest(0.0)  # what was opened is opened again by the next try
            raise
        try:
            await joined.start()
        except QueueError as error:
            if isinstance(error, QueueUnavailableError):
                log.warning("joined later", execution_id=self.execution_id, reason=error.message)
            # Else its owner has not made its queues yet, or has deleted them. Nobody waits for us then.
            await parts.workers.end_share(self.execution_id, parts.worker_id)
            return pause
        self.joined, self.refused = joined, None
        log.info("works on", execution_id=self.execution_id, generation=row.generation)
        return None

    def _spec(self, row: PipelineExecution, config: PipelineGlobalConfig) -> ExecutionSpec:
        if self._parts.concurrency is not None:
            config = config.with_concurrency(self._parts.concurrency)
        return spec_of(row, config, None)

    async def _come_to_rest(self, generation: int, grace_seconds: float) -> None:
        """Leave, write what lineage lacks, and say so to the owner, who waits for it."""
        self._rests_until = asyncio.get_running_loop().time() + REST_SECONDS
        if self.joined is not None:
            missing = await self._leave(grace_seconds)
            await self._note("rested", generation, missing=missing)
        self._on_rested(self.execution_id)

    async def _leave(self, grace_seconds: float) -> int:
        """Work on it no more; return how many lineage rows of it could not be written."""
        joined, self.joined = self.joined, None
        if joined is None:
            return 0
        await joined.rest(grace_seconds)
        lineage = self._parts.services.lineage
        written = await lineage.flush(self.execution_id, timeout=FLUSH_SECONDS)
        return lineage.take_gap(self.execution_id) or int(not written)

    async def _end_share(self, missing: int) -> None:
        """Forget the part it had in an execution that ended; the owner did not wait for these rows."""
        parts = self._parts
        if missing:
            await parts.repository.update(self.execution_id, lineage_gap=missing)
        await parts.workers.end_share(self.execution_id, parts.worker_id)

    async def _refuse(self, generation: int, reason: str) -> None:
        log.warning("not worked on", execution_id=self.execution_id, reason=reason)
        self.refused, self._refused_generation = reason, generation
        await self._note("refused", generation, reason)

    async def _note(
        self, state: ShareState, generation: int, reason: str | None = None, missing: int = 0
    ) -> None:
        parts = self._parts
        await parts.workers.share(
            Share(self.execution_id, parts.worker_id, generation, state, reason, missing)
        )


def _words(error: Exception) -> str:
    if isinstance(error, FactflowError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return type(error).__name__  # its words may hold an adapter's secrets
