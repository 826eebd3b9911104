"""The life of an execution: launched, cancelled, ended. Nothing else starts one or changes its status."""

from __future__ import annotations

import asyncio
import builtins
from typing import Any

from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.config.models import PipelineGlobalConfig
from factflow_engine.execution_spec import FinalState, FinalStatus, MessageSource
from factflow_engine.manager import OrchestratorManager
from factflow_engine.registry import AdapterRegistry
from factflow_execution.errors import (
    ExecutionStateError,
    LaunchFailedError,
    OwnedElsewhereError,
    ServerStoppingError,
    TagTakenError,
    error_info,
)
from factflow_execution.execution_deletions import ExecutionDeletions
from factflow_execution.execution_ends import ExecutionEnds
from factflow_execution.execution_events import Event, ending
from factflow_execution.execution_holds import ExecutionHolds
from factflow_execution.execution_leases import LeaseLostError
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.idempotency import IdempotentStarts
from factflow_execution.init_payload import store_init
from factflow_execution.launch_checks import check_code, check_tag_form, check_variables
from factflow_execution.launch_forms import resumption_of, row_of, spec_of
from factflow_execution.lease_keeper import LeaseKeeper
from factflow_execution.models import (
    Cancellation,
    ExecutionDraft,
    ExecutionStatus,
    ExecutionSummary,
    Page,
    PipelineExecution,
)
from factflow_foundation import ids, keys, logs
from factflow_foundation.clock import Clock, SystemClock
from factflow_protocols.errors import FactflowError
from factflow_protocols.storage import StorageProtocol

UNDO_SECONDS = 2.0
OWNER_SECONDS = 1.0
"""How long another server's end is waited for before it is asked whether that one is still there."""
TAKEN_UP_SECONDS = 0.1

_log = logs.logger(__name__)


class ExecutionService:
    """Starts, ends and finds executions. `finished` is to be the manager's `on_finished`; `holds` are
    released here, when their holder has completed or was never entered."""

    def __init__(
        self,
        *,
        repository: ExecutionRepository,
        loader: PipelineConfigLoader,
        registry: AdapterRegistry,
        manager: OrchestratorManager,
        storage: StorageProtocol,
        holds: ExecutionHolds,
        max_init_bytes: int | None = None,
        deletions: ExecutionDeletions,
        clock: Clock | None = None,
        leases: LeaseKeeper | None = None,
    ) -> None:
        self._repository = repository
        self._loader = loader
        self._registry = registry
        self._manager = manager
        self._storage = storage
        self.holds = holds
        self._max_init_bytes = max_init_bytes
        self.deletions = deletions
        self._clock = clock or SystemClock()
        self.ends = ExecutionEnds(repository, holds, self._clock, leases)
        self.leases = leases
        if leases is not None:
            leases.on_lost = self._lost
        self._launching: dict[str, asyncio.Event] = {}
        self._closed = False
        self.late_ends = self.ends.late
        self.starts = IdempotentStarts(repository)
        self.waiter = self.ends.waiter

    async def launch(self, draft: ExecutionDraft) -> PipelineExecution:
        """Start an execution and return it as it was entered, running.

        One that was cancelled while its adapters were opened, or whose server was stopped then, is
        returned as `cancelled` or `interrupted`.

        Raises `ConfigurationError` (with the report), `CodeChangedError`, `TagTakenError`,
        `LaunchRefusedError`, `InitTooLargeError`, `TooManyConcurrentExecutionsError`, `ServerStoppingError`,
        and what `prepare`, storage or queue raise; `LaunchFailedError` when an adapter does not open.
        Whatever is raised, no slot, object or running row is left behind.
        """
        config = await asyncio.to_thread(
            self._loader.load, draft.config_snapshot, draft.config_name
        )
        check_variables(config)
        if not draft.loaded_code:
            await asyncio.to_thread(check_code, self._registry, config)
        await self._check_tag(draft.tag)
        if self._closed:
            raise ServerStoppingError
        execution_id = ids.execution_id()
        self._manager.reserve(execution_id)
        launched = self._launching[execution_id] = asyncio.Event()
        try:
            return await self._start(execution_id, draft, config)
        except BaseException as error:
            await self._undo(execution_id, error)
            raise
        finally:
            del self._launching[execution_id]
            launched.set()

    async def get(self, id_or_tag: str) -> PipelineExecution:
        """Return the execution with this id or tag. Raises `ExecutionNotFoundError`."""
        return await self.ends.get(id_or_tag)

    async def list(
        self,
        status: ExecutionStatus | None = None,
        limit: int = 50,
        offset: int = 0,
        *,
        deleted: bool = False,
    ) -> Page[ExecutionSummary]:
        """Return a page of executions, newest first; with `deleted` those too that were deleted."""
        return await self._repository.list(status, limit, offset, deleted=deleted)

    async def stored(self, id_or_tag: str) -> PipelineExecution:
        """Return the execution with this id or tag, whose records are in storage.

        Raises `ExecutionNotFoundError`, and `ExecutionDeletedError` when it was or is being deleted.
        """
        execution = await self.get(id_or_tag)
        await self.deletions.check(execution.execution_id)
        return execution

    async def cancel(self, id_or_tag: str, grace_seconds: float = 10.0) -> Cancellation:
        """Stop an execution; messages in hand have `grace_seconds` to end by themselves.

        Returns when it has stopped, or ended by itself. Asking again changes nothing: the first grace
        period counts. Raises `ExecutionNotFoundError`, `ExecutionStateError` when it ended otherwise.
        """
        execution = await self.get(id_or_tag)
        if execution.status == "cancelled":
            return Cancellation(execution.execution_id, "cancelled", "cancelled")
        if execution.status not in {"running", "interrupted"}:
            raise ExecutionStateError(
                f"execution {execution.execution_id} is {execution.status} and cannot be cancelled",
                hint="only running and interrupted executions can be cancelled",
            )
        execution_id = execution.execution_id
        await self._repository.request_cancel(execution_id, self._clock.now(), grace_seconds)
        launching = self._launching.get(execution_id)
        if launching is not None:
            self._manager.ask_to_stop(execution_id, "cancelled", grace_seconds)
            await launching.wait()
        await self._manager.cancel(execution_id, grace_seconds)
        current = await self.get(execution_id)
        while not self._closed and current.status in {"running", "interrupted"}:
            if self._manager.is_running(execution_id):
                break
            try:
                current = await self.give_up(execution_id, "cancelled")
            except (OwnedElsewhereError, LeaseLostError):
                current = await self._cancelled_elsewhere(execution_id)
        return Cancellation(execution_id, execution.status, current.status)

    async def _cancelled_elsewhere(self, execution_id: str) -> PipelineExecution:
        """Wait for the end that the owner makes, who is told; not for long, since it may die over it."""
        if (await self.get(execution_id)).status == "interrupted":
            await asyncio.sleep(TAKEN_UP_SECONDS)  # it is about to be taken up, and found cancelled
        return await self.waiter.wait(execution_id, OWNER_SECONDS)

    async def finished(self, execution_id: str, final: FinalState) -> bool:
        """Write how an execution ended: `ExecutionEnds.finished`."""
        return await self.ends.finished(execution_id, final)

    def _lost(self, execution_id: str) -> None:
        """Stop what runs here and is another server's."""
        self._manager.ask_to_stop(execution_id, "interrupted", 0.0)

    def here(self) -> builtins.list[str]:
        """Return the executions that run in this process, or are about to."""
        return [*self._manager.running(), *self._launching]

    def is_launching(self, execution_id: str) -> bool:
        """Tell whether its adapters are being opened, at a launch or when it is taken up again."""
        return execution_id in self._launching

    async def mark_orphans(self) -> builtins.list[str]:
        """Mark executions that run without an owner `interrupted`; return their ids.

        For start-up, when this process runs none yet: whoever ran them has ended. Where there can be other
        servers, that is for leases to tell, and none is marked.
        """
        if self.leases is not None:
            self.ends.awaiting_recovery = set(await self._repository.with_status("interrupted"))
            return []
        running = await self._repository.with_status("running")
        orphans = [one for one in running if not self._manager.is_running(one)]
        for execution_id in orphans:
            gap = (await self.get(execution_id)).lineage_gap
            await self.ends.end(
                execution_id,
                "interrupted",
                error_info={"message": "the server ended before this execution did"},
                lineage_gap=max(gap, 1),  # what had not been written yet went with the process
            )
        self.ends.awaiting_recovery = set(await self._repository.with_status("interrupted"))
        return orphans

    def recovery_is_over(self, execution_id: str) -> None:
        """Take note that nobody will take an execution up that is still interrupted."""
        self.ends.awaiting_recovery.discard(execution_id)
        self.waiter.look_again(execution_id)
        self._repository.events.tell(execution_id)

    async def resume(self, execution_id: str, source: MessageSource | None) -> PipelineExecution:
        """Take an interrupted execution up where it stood, as soon as there is a slot.

        It goes on with the queues it had, or, when these were lost, on new ones that are filled by
        what its records say. `source` is its plan, for a replay. One that was asked to end meanwhile is
        returned as `cancelled` or `interrupted`. Raises `ExecutionStateError` when it is
        not interrupted (any more), and what launching raises: it stays interrupted then, and its row
        says why.
        """
        await self._manager.reserve_when_free(execution_id)
        started = self._launching[execution_id] = asyncio.Event()
        count: int | None = None
        try:
            await self.ends.take_lease(execution_id)
            execution = await self.get(execution_id)
            count = execution.recoveries
            config = await asyncio.to_thread(
                self._loader.load, execution.config_snapshot, execution.config_name
            )
            execution = await self._move_to_running(execution)
            stopped: FinalStatus | None = (
                "cancelled"  # who asked for it saw none that could be stopped
            )
            if not execution.cancel_requested:
                spec = spec_of(execution, config, source, resumed=True)
                stopped = await self._manager.start(spec)
            if stopped is not None:
                await self._stopped(execution_id, stopped, recoveries=count)
        except (ExecutionStateError, LeaseLostError):
            self._manager.release(execution_id)
            await self.ends.give_lease_back(execution_id)
            raise
        except BaseException as error:
            self._manager.release(execution_id)
            values: dict[str, Any] = {"error_info": error_info(error)}
            if count is not None:
                values["recoveries"] = count  # a try that came to nothing is none
            event = ending("interrupted", self._clock.now(), values)
            lease = self.ends.lease(execution_id)
            if not await self._repository.move(
                execution_id, "interrupted", event, lease=lease, **values
            ):
                await self._repository.update(execution_id, **values)
            await self.ends.give_lease_back(execution_id)
            raise
        finally:
            del self._launching[execution_id]
            started.set()
        return await self.get(execution_id)

    async def _move_to_running(self, execution: PipelineExecution) -> PipelineExecution:
        found = await self._manager.found_in_queue(execution.execution_id, execution.generation)
        now = self._clock.now()
        values = resumption_of(execution, found, now)
        event = Event(
            "resumed", now, {"status": "running", "source": values["last_recovery"]["source"]}
        )
        lease = self.ends.lease(execution.execution_id)
        if execution.status == "running" and lease is not None:
            taken = Event("taken_over", now, {**event.data, "owner": lease.owner})
            moved = await self._repository.take_over(execution.execution_id, lease, taken, **values)
        else:
            moved = await self._repository.move(
                execution.execution_id, "running", event, lease=lease, **values
            )
        if not moved:
            raise ExecutionStateError(
                f"execution {execution.execution_id} is not interrupted any more"
            )
        return await self.get(execution.execution_id)

    async def give_up(
        self, execution_id: str, status: ExecutionStatus, error: str | None = None
    ) -> PipelineExecution:
        """End an execution that does not run, and forget its queues."""
        values = {} if error is None else {"error_info": {"message": error}}
        await self.ends.take_lease(execution_id)
        try:
            ended = await self.ends.end(execution_id, status, **values)
        finally:
            await self.ends.give_lease_back(execution_id)
        await self._manager.discard(execution_id, ended.generation)
        return ended

    async def interrupted(self) -> builtins.list[PipelineExecution]:
        """Return the executions that a stop or a crash cut off, oldest first."""
        found = await self._repository.with_status("interrupted")
        return [await self.get(execution_id) for execution_id in found]

    @property
    def closed(self) -> bool:
        """Tell whether nothing is started any more."""
        return self._closed

    async def close(self, grace_seconds: float = 10.0) -> None:
        """Start nothing from now on; returns when launches under way have come to their end.

        An adapter that is being opened has `grace_seconds` to end; the execution is `interrupted` then.
        """
        self._closed = True
        self.ends.late.close_begun()
        for execution_id in self._launching:
            self._manager.ask_to_stop(execution_id, "interrupted", grace_seconds)
        for launching in list(self._launching.values()):
            await launching.wait()
        await self.ends.late.close()

    async def _check_tag(self, tag: str | None) -> None:
        if tag is None:
            return
        check_tag_form(tag)
        if await self._repository.tag_taken(tag):
            raise TagTakenError(tag)

    async def _start(
        self, execution_id: str, draft: ExecutionDraft, config: PipelineGlobalConfig
    ) -> PipelineExecution:
        source: MessageSource | None = None
        if draft.prepare is not None:
            source = await draft.prepare(execution_id)
        else:
            await store_init(self._storage, execution_id, config, draft.init, self._max_init_bytes)
        execution = row_of(execution_id, draft, self._clock.now())
        await self.ends.take_lease(execution_id)  # before others could think that nobody has it
        await self._repository.insert(execution)
        spec = spec_of(execution, config, source)
        try:
            stopped = await self._manager.start(spec)
        except FactflowError:
            raise
        except Exception as error:
            # An adapter may raise anything while it opens; its words may hold its secrets.
            _log.error("launch failed", execution_id=execution_id, exc_info=error)
            raise LaunchFailedError(execution_id, error) from error
        if stopped is None:
            return execution
        await self._stopped(execution_id, stopped)
        return await self.get(execution_id)

    async def _stopped(self, execution_id: str, status: ExecutionStatus, **values: Any) -> None:
        """End an execution that was asked to end before it took messages; nothing of it is open."""
        self._manager.release(execution_id)

        async def end() -> None:
            if self.leases is not None and status == "interrupted":
                await self.leases.give_back(execution_id)
                return
            ended = await self.ends.end(execution_id, status, **values)
            await self.ends.give_lease_back(execution_id)
            if status == "cancelled":
                await self._manager.discard(execution_id, ended.generation)

        await self.ends.late.insist_behind(execution_id, end, UNDO_SECONDS)

    async def _undo(self, execution_id: str, error: BaseException) -> None:
        """Leave nothing of a launch that failed; once its row stood, the row says why.

        Whoever asked for the launch does not wait until there is room again, if that is what is lacking.
        """
        self._manager.release(execution_id)
        await self.ends.late.insist_behind(
            execution_id, lambda: self._clean_up(execution_id, error), UNDO_SECONDS
        )

    async def _clean_up(self, execution_id: str, error: BaseException) -> None:
        if await self._repository.get(execution_id) is not None:
            await self.ends.end(execution_id, "failed", error_info=error_info(error))
            await self.ends.give_lease_back(execution_id)
            return
        await self.ends.give_lease_back(execution_id)
        await self.holds.release(execution_id)
        await self._storage.delete_prefix(keys.execution_prefix(execution_id))
