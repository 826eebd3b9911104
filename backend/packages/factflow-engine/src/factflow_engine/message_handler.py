"""One message's way through a route: process → artefact → outcome record, stage by stage, then settle.

The record's creation is the commit. Whatever this process already did for a repeated message is
found by its record and not done again; whichever record stands is the one that is gone on with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from factflow_engine import envelope as envelopes
from factflow_engine import payloads
from factflow_engine.announcing import announce
from factflow_engine.batching import Answer
from factflow_engine.dead_letters import keep_dead_letter
from factflow_engine.fan_out import FannedOut, FanOut, plain_metadata
from factflow_engine.lineage_rows import row_of
from factflow_engine.outcome_draft import OutcomeDraft, Work
from factflow_engine.payloads import EncodedPayload
from factflow_engine.route_context import RouteContext
from factflow_engine.stage import Stage
from factflow_engine.suspects import (
    ProcessKilledError,
    is_set_aside,
    is_too_dangerous_to_read,
)
from factflow_foundation.keys import StageKey
from factflow_foundation.records import OutcomeRecord
from factflow_lineage.models import PipelineLineageEntry
from factflow_protocols.errors import PermanentError, RecordDamagedError, StorageError
from factflow_protocols.pipeline import AdapterResult, PipelineContext
from factflow_protocols.queue import Delivery

T = TypeVar("T")


class MessageHandler:
    """Handles the messages of one route, many at a time; holds no state of its own."""

    def __init__(self, context: RouteContext, stages: list[Stage]) -> None:
        self._context = context
        self._stages = stages
        self._index = {stage.name: index for index, stage in enumerate(stages)}

    async def handle(self, delivery: Delivery) -> None:
        """Take a message from its entry stage to its end in this route.

        Returns when it is settled or put back for another attempt. Raises only `CancelledError`, and
        what is a fault of the engine.
        """
        await self._hold(lambda: self._context.queue.claim(delivery))
        work = Work.of(
            envelopes.decode(delivery.body), repeat=delivery.repeat, crashes=delivery.crashes
        )
        for stage in self._stages[self._index[work.envelope.entry_stage] :]:
            record = await self._committed_before(stage, work)
            if record is None:
                draft = await self._run(stage, work)
                if draft is None:
                    work.passed.append(stage.name)
                    continue
                if draft.retry_in is not None:
                    await self._put_back(delivery, stage, work, draft)
                    return
                record = await self._commit(draft, work)
            if self._goes_on(record):
                self._record_lineage(record)
                work.follow(record)
                continue
            await keep_dead_letter(self._context, record, work.data)
            await announce(self._context, delivery, record, work)
            return
        record = await self._commit(self._passed_to_the_end(work), work)
        await announce(self._context, delivery, record, work)

    def _goes_on(self, record: OutcomeRecord) -> bool:
        """Tell whether a further stage of this route follows for the same message."""
        return record.outcome == "stored" and record.stage != self._stages[-1].name

    async def _committed_before(self, stage: Stage, work: Work) -> OutcomeRecord | None:
        """Return the record of an earlier handling; only repeats pay for asking.

        One that cannot be read fails the message: what it said was done must not be done again.
        """
        if not work.repeat:
            return None
        key = str(self._stage_key(stage, work))
        try:
            return await self._hold(lambda: self._context.store.find(key))
        except RecordDamagedError as error:
            draft = OutcomeDraft(stage, work, started_at=self._context.clock.now())
            self._failed(draft, error)
            return await self._commit(draft, work)

    async def _run(self, stage: Stage, work: Work) -> OutcomeDraft | None:
        """Return how the stage ended for the message, None when its condition skips it."""
        draft = OutcomeDraft(stage, work, started_at=self._context.clock.now())
        if is_too_dangerous_to_read(work.crashes):
            self._failed(draft, ProcessKilledError(work.crashes))
            return draft
        try:
            data = await self._input(work)
            payload = payloads.decode(data, work.content_type)
            if stage.condition and not stage.condition.holds(payload, work.metadata):
                return None
            if is_set_aside(work.crashes):
                self._failed(draft, ProcessKilledError(work.crashes))
                return draft
            self._record_progress(stage, work, draft)
            answer = await self._call(draft, self._pipeline_context(stage, work, payload))
            draft.batch_id = answer.batch_id
            await self._take(draft, answer.result)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._failed(draft, PermanentError(f"the adapter was cancelled from within: {error!r}"))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an adapter may raise anything
            self._failed(draft, error)
        return draft

    async def _call(self, draft: OutcomeDraft, context: PipelineContext) -> Answer:
        """Call the adapter; storage or queue trouble met inside it costs no attempt."""

        def begin() -> None:
            draft.started_at = (
                self._context.clock.now()
            )  # waiting for a slot is not the stage's time

        return await self._hold(lambda: draft.stage.call(context, begin))

    async def _take(self, draft: OutcomeDraft, result: AdapterResult | None) -> None:
        """Turn an adapter's result into the draft of an outcome, storing emitted children."""
        if result is None:
            draft.outcome = "filtered"
            return
        draft.metadata = {**draft.work.metadata, **plain_metadata(result.metadata)}
        if result.emitted is None:
            draft.outcome = "stored"
            draft.artefact = payloads.encode(result.payload, result.content_type)
            return
        draft.outcome = "fanned_out"
        target = self._context.target_after(draft.stage.name)
        fan_out = FanOut(
            self._context.store,
            self._stage_key(draft.stage, draft.work),
            draft.work.envelope.origin_id,
            target,
        )
        if isinstance(result.emitted, Sequence):
            draft.fanned_out = await fan_out.store(result.emitted, self._hold)
        else:
            # An iterator runs adapter code, so it holds a slot like any other call of the adapter.
            async with self._context.slot(draft.stage.name):
                draft.fanned_out = await fan_out.store(result.emitted, self._hold)
        if draft.fanned_out.count == 0:
            draft.outcome = "filtered"

    def _failed(self, draft: OutcomeDraft, error: BaseException) -> None:
        draft.outcome = "failed"
        draft.artefact = None
        draft.fanned_out = FannedOut()
        draft.metadata = dict(draft.work.metadata)
        draft.error = draft.stage.describe(error)
        draft.retry_in = self._context.retries.delay_before_next(error, draft.work.attempt)

    def _passed_to_the_end(self, work: Work) -> OutcomeDraft:
        """Return the outcome of a chain whose last stages were all skipped."""
        stage = self._stages[-1]
        work.passed = work.passed[:-1]
        draft = OutcomeDraft(stage, work, started_at=self._context.clock.now())
        draft.outcome = "passed"
        draft.metadata = dict(work.metadata)
        return draft

    async def _commit(self, draft: OutcomeDraft, work: Work) -> OutcomeRecord:
        """Store artefact and record; return the record that stands."""
        record = draft.record(self._context)
        artefact: EncodedPayload | None = draft.artefact
        store = self._context.store
        try:
            standing, ours = await self._hold(lambda: store.commit(record, artefact))
        except StorageError as error:
            # The store refuses this one object for its own sake, or holds a record there that cannot
            # be read: the message fails, with that reason.
            self._failed(draft, error)
            failed = draft.record(self._context)
            standing, ours = await self._hold(lambda: store.commit_failure(failed))
            artefact = None
        if ours:
            work.fresh = artefact
            work.inline = draft.fanned_out.inline
        else:
            work.repeat = True
        return standing

    async def _put_back(
        self, delivery: Delivery, stage: Stage, work: Work, draft: OutcomeDraft
    ) -> None:
        """Put the message back for its next attempt, entering at the stage that failed."""
        not_before = self._context.clock.now() + (draft.retry_in or 0.0)
        body = envelopes.encode(work.next_attempt(stage.name))
        self._record_progress(stage, work, draft)
        await self._hold(lambda: self._context.queue.put_back(delivery, body, not_before))

    async def _input(self, work: Work) -> bytes:
        if work.data is None:
            envelope_data = work.envelope.inline
            if envelope_data is not None and work.input_key == work.envelope.input_key:
                work.data = envelope_data
            else:
                key, expected = work.input_key, work.input_hash
                work.data = await self._hold(lambda: self._context.store.read_input(key, expected))
        return work.data

    def _pipeline_context(self, stage: Stage, work: Work, payload: Any) -> PipelineContext:
        lineage_id = work.lineage_id(self._context, stage.name)
        return PipelineContext(
            payload=payload,
            metadata=dict(work.metadata),
            content_type=work.content_type,
            execution_id=self._context.execution_id,
            route=self._context.route_id,
            stage=stage.name,
            message_id=work.envelope.message_id,
            origin_id=work.envelope.origin_id,
            correlation_id=work.root_id or lineage_id,
            input_key=work.input_key,
            attempt=work.attempt,
            is_replay=self._context.is_replay,
            idempotency_key=lineage_id,
            storage=self._context.store.storage,
        )

    def _stage_key(self, stage: Stage, work: Work) -> StageKey:
        return StageKey(
            self._context.execution_id,
            self._context.route_id,
            stage.name,
            work.envelope.message_id,
        )

    async def _hold(self, action: Callable[[], Awaitable[T]]) -> T:
        return await self._context.holder.until_done(action)

    def _record_progress(self, stage: Stage, work: Work, draft: OutcomeDraft) -> None:
        """Write a row for a message that is being processed, or waits for its next attempt."""
        self._context.lineage.record(
            PipelineLineageEntry(
                id=work.lineage_id(self._context, stage.name),
                execution_id=self._context.execution_id,
                route_id=self._context.route_id,
                stage=stage.name,
                adapter=stage.adapter_type,
                adapter_version=stage.adapter_version,
                message_id=work.envelope.message_id,
                origin_id=work.envelope.origin_id,
                parent_id=work.parent_id,
                root_id=work.root_id,
                replayed_from=work.replayed_from,
                status="processing" if draft.retry_in is None else "pending",
                attempts=work.attempt + (draft.retry_in is not None),
                generation=self._context.scope.generation,
                input_key=work.input_key,
                input_hash=work.input_hash,
                error=draft.error,
                started_at=draft.started_at,
                metadata={**work.metadata, "input_key": work.input_key},
            )
        )

    def _record_lineage(self, record: OutcomeRecord) -> None:
        self._context.lineage.record(row_of(self._context.graph, record))
