"""One message's way through a route: process → artefact → outcome record, stage by stage, then settle.

The record's creation is the commit. Whatever this process already did for a repeated message is
found by its record and not done again; whichever record stands is the one that is gone on with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from factflow_engine import envelope as envelopes
from factflow_engine import payloads
from factflow_engine.announcing import announce
from factflow_engine.circuit_breaker import BreakerOpenError
from factflow_engine.dead_letters import keep_dead_letter
from factflow_engine.fan_out import FannedOut, FanOut, Parent
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
from factflow_engine.tracing import call_of
from factflow_foundation.keys import stage_key
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.errors import PermanentError, RecordDamagedError, StorageError
from factflow_protocols.pipeline import AdapterResult, PipelineContext
from factflow_protocols.queue import Delivery

MAX_SHOWN_ERROR = 500
"""Characters of an error's message that a breaker shows."""


class MessageHandler:
    """Handles the messages of one route, many at a time; holds no state of its own."""

    def __init__(self, context: RouteContext, stages: list[Stage]) -> None:
        self._context = context
        self._stages = stages
        self._index = {stage.name: index for index, stage in enumerate(stages)}
        self._hold = context.holder.until_done

    async def handle(self, delivery: Delivery) -> None:
        """Take a message from its entry stage to its end in this route.

        Returns when it is settled or put back for another attempt. Raises only `CancelledError`, and
        what is a fault of the engine.
        """
        context = self._context
        await self._hold(context.queue.claim, delivery)
        work = Work.of(
            envelopes.decode(delivery.body), repeat=delivery.repeat, crashes=delivery.crashes
        )
        for stage in self._stages[self._index[work.envelope.entry_stage] :]:
            record = await self._committed_before(stage, work) if work.repeat else None
            if record is None:
                draft = await self._run(stage, work)
                if draft is None:
                    work.passed.append(stage.name)
                    continue
                if context.tracer is not None:
                    context.tracer.stage_ended(call_of(draft, context.clock.now()))
                if draft.retry_in is not None:
                    await self._put_back(delivery, stage, work, draft)
                    return
                record = await self._commit(draft, work)
            if record.outcome == "stored" and not context.is_last(record.stage):
                context.lineage.record(row_of(context.graph, record))
                work.follow(record)
                continue
            await keep_dead_letter(context, record, work.data)
            await announce(context, delivery, record, work)
            return
        record = await self._commit(self._passed_to_the_end(work), work)
        await announce(context, delivery, record, work)

    async def _committed_before(self, stage: Stage, work: Work) -> OutcomeRecord | None:
        """Return the record of an earlier handling; only repeats pay for asking.

        One that cannot be read fails the message: what it said was done must not be done again.
        """
        try:
            return await self._hold(self._context.store.find, self._key(stage, work))
        except RecordDamagedError as error:
            draft = OutcomeDraft.begun(self._context, stage, work)
            self._failed(draft, error)
            return await self._commit(draft, work)

    async def _run(self, stage: Stage, work: Work) -> OutcomeDraft | None:
        """Return how the stage ended for the message, None when its condition skips it."""
        draft = OutcomeDraft.begun(self._context, stage, work)
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
            self._context.lineage.begin(draft.lineage_id, draft.progress_row)
            context = self._pipeline_context(draft, payload)
            # Storage or queue trouble met inside the adapter costs no attempt.
            answer = await self._hold(stage.call, context, draft.begin)
            draft.batch_id = answer.batch_id
            await self._take(draft, answer.result)
            if draft.era is not None and stage.breaker is not None:
                stage.breaker.succeeded(draft.era)
        except BreakerOpenError:
            draft.wait_for_breaker()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                if draft.era is not None and stage.breaker is not None:
                    stage.breaker.undecided(draft.era)
                raise
            self._failed(draft, PermanentError(f"the adapter was cancelled from within: {error!r}"))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an adapter may raise anything
            self._failed(draft, error)
        return draft

    async def _take(self, draft: OutcomeDraft, result: AdapterResult | None) -> None:
        """Turn an adapter's result into the draft of an outcome, storing emitted children."""
        if result is None:
            draft.outcome = "filtered"
            return
        draft.metadata = dict(draft.work.metadata)
        limit = self._context.metadata_limit
        draft.metadata |= limit.added(draft.metadata, result.metadata)
        if result.emitted is None:
            draft.outcome = "stored"
            draft.artefact = self._context.store.encode(result.payload, result.content_type)
            return
        draft.outcome = "fanned_out"
        fan_out = FanOut(
            self._context.store,
            Parent(
                self._context.execution_id,
                self._context.route_id,
                draft.stage.name,
                draft.work.envelope.message_id,
                draft.work.envelope.origin_id,
                draft.metadata,
            ),
            self._context.target_after(draft.stage.name),
            self._context.recent,
            self._hold,
            metadata_limit=limit,
        )
        if isinstance(result.emitted, Sequence):
            draft.fanned_out = await fan_out.store(result.emitted)
        else:
            # An iterator runs adapter code, so it holds a slot like any other call of the adapter.
            async with self._context.slots:
                draft.fanned_out = await fan_out.store(result.emitted)
        if draft.fanned_out.count == 0:
            draft.outcome = "filtered"

    def _failed(self, draft: OutcomeDraft, error: BaseException) -> None:
        draft.outcome = "failed"
        draft.artefact = None
        draft.fanned_out = FannedOut()
        draft.metadata = dict(draft.work.metadata)
        draft.error = draft.stage.describe(error)
        draft.retry_in = self._context.retries.delay_before_next(error, draft.work.attempt)
        breaker = draft.stage.breaker
        if breaker is None or draft.era is None:
            return
        if not self._context.retries.may_pass(error):
            breaker.undecided(draft.era)
        elif breaker.failed(draft.era, draft.error.message[:MAX_SHOWN_ERROR]):
            draft.wait_for_breaker()

    def _passed_to_the_end(self, work: Work) -> OutcomeDraft:
        """Return the outcome of a chain whose last stages were all skipped."""
        stage = self._stages[-1]
        work.passed = work.passed[:-1]
        draft = OutcomeDraft.begun(self._context, stage, work)
        draft.outcome = "passed"
        draft.metadata = dict(work.metadata)
        return draft

    async def _commit(self, draft: OutcomeDraft, work: Work) -> OutcomeRecord:
        """Store artefact and record; return the record that stands."""
        record = draft.record()
        artefact: EncodedPayload | None = draft.artefact
        store = self._context.store
        try:
            standing, ours = await self._hold(store.commit, record, artefact)
        except StorageError as error:
            # The store refuses this one object for its own sake, or holds a record there that cannot
            # be read: the message fails, with that reason.
            self._failed(draft, error)
            failed = draft.record()
            standing, ours = await self._hold(store.commit_failure, failed)
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
        body = envelopes.encode(work.next_attempt(stage.name, free=draft.free))
        self._context.lineage.record(draft.progress_row())
        await self._hold(self._context.queue.put_back, delivery, body, not_before)

    async def _input(self, work: Work) -> bytes:
        if work.data is None:
            envelope = work.envelope
            if envelope.inline is not None and work.input_key == envelope.input_key:
                work.data = envelope.inline
            else:
                work.data = self._context.recent.take(work.input_key)
        if work.data is None:
            read = self._context.store.read_input
            work.data = await self._hold(read, work.input_key, work.input_hash)
        return work.data

    def _pipeline_context(self, draft: OutcomeDraft, payload: Any) -> PipelineContext:
        work = draft.work
        return PipelineContext(
            payload=payload,
            metadata=dict(work.metadata),
            content_type=work.content_type,
            execution_id=self._context.execution_id,
            route=self._context.route_id,
            stage=draft.stage.name,
            message_id=work.envelope.message_id,
            origin_id=work.envelope.origin_id,
            correlation_id=work.root_id or draft.lineage_id,
            input_key=work.input_key,
            attempt=work.attempt,
            is_replay=self._context.is_replay,
            idempotency_key=draft.lineage_id,
            storage=self._context.store.storage,
        )

    def _key(self, stage: Stage, work: Work) -> str:
        context = self._context
        return stage_key(
            context.execution_id, context.route_id, stage.name, work.envelope.message_id
        )
