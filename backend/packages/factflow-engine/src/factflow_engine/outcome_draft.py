"""A message between two stages, and a stage's outcome before it is committed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from factflow_engine.envelope import Envelope
from factflow_engine.fan_out import FannedOut
from factflow_engine.payloads import EncodedPayload
from factflow_engine.route_context import RouteContext
from factflow_engine.stage import Stage
from factflow_foundation import ids
from factflow_foundation.records import Child, ErrorInfo, Outcome, OutcomeRecord
from factflow_lineage.models import PipelineLineageEntry


@dataclass(slots=True)
class Work:
    """What a message carries at this moment: its input (the nearest artefact), and where it came from."""

    envelope: Envelope
    repeat: bool
    input_key: str
    input_hash: str
    content_type: str
    metadata: dict[str, Any]
    attempt: int
    parent_id: str | None
    root_id: str | None
    replayed_from: str | None
    passed: list[str]
    crashes: int = 0
    """At how many crashes of the process it was being handled."""
    data: bytes | None = None
    fresh: EncodedPayload | None = None
    """The artefact this process has just committed: the next stage need not read it."""
    inline: dict[str, bytes] = field(default_factory=dict)
    """Small payloads of children just stored, by message id."""

    @classmethod
    def of(cls, envelope: Envelope, *, repeat: bool, crashes: int = 0) -> Work:
        """Return the work that an envelope asks for."""
        return cls(
            envelope=envelope,
            repeat=repeat or envelope.repeat,
            input_key=envelope.input_key,
            input_hash=envelope.input_hash,
            content_type=envelope.content_type,
            metadata=dict(envelope.metadata),
            attempt=envelope.attempt,
            parent_id=envelope.parent_id,
            root_id=envelope.root_id,
            replayed_from=envelope.replayed_from,
            passed=list(envelope.passed),
            crashes=crashes,
        )

    def follow(self, record: OutcomeRecord) -> None:
        """Go on from a `stored` outcome: its artefact is the next stage's input."""
        self.input_key = record.output_key or self.input_key
        self.input_hash = record.output_hash or ""
        self.content_type = record.content_type or self.content_type
        self.metadata = dict(record.metadata)
        self.data = self.fresh.data if self.fresh is not None else None
        self.fresh = None
        self.parent_id = record.lineage_id
        self.root_id = record.root_id or record.lineage_id
        self.replayed_from = None
        self.attempt = 1
        self.passed = []

    def next_attempt(self, stage: str, *, free: bool = False) -> Envelope:
        """Return the envelope that enters at `stage` again, one attempt later unless that one is `free`."""
        small = self.envelope.inline if self.input_key == self.envelope.input_key else None
        return msgspec.structs.replace(
            self.envelope,
            entry_stage=stage,
            input_key=self.input_key,
            input_hash=self.input_hash,
            content_type=self.content_type,
            metadata=self.metadata,
            attempt=self.attempt + (not free),
            repeat=self.repeat,
            parent_id=self.parent_id,
            root_id=self.root_id,
            replayed_from=self.replayed_from,
            passed=self.passed,
            inline=small,
        )


@dataclass(slots=True)
class OutcomeDraft:
    """How a stage ended, as far as it is known. `retry_in` (seconds) is set when it did not end yet; the
    next attempt is `free` when the stage's breaker has the message wait."""

    context: RouteContext
    stage: Stage
    work: Work
    lineage_id: str
    started_at: float
    outcome: Outcome = "failed"
    artefact: EncodedPayload | None = None
    fanned_out: FannedOut = field(default_factory=FannedOut)
    error: ErrorInfo | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    batch_id: str | None = None
    retry_in: float | None = None
    free: bool = False
    era: int | None = None
    """Of the stage's breaker: what this call counts for, None before it is made."""

    @classmethod
    def begun(cls, context: RouteContext, stage: Stage, work: Work) -> OutcomeDraft:
        """Return the draft of a stage that begins now."""
        return cls(
            context,
            stage,
            work,
            ids.lineage_id(
                context.execution_id, context.route_id, stage.name, work.envelope.message_id
            ),
            context.clock.now(),
        )

    def begin(self) -> None:
        """Count the stage's time from now on: waiting for a slot is none of it.

        Raises `BreakerOpenError` when the stage must not be called now.
        """
        self.started_at = self.context.clock.now()
        if self.era is None and self.stage.breaker is not None:
            self.era = self.stage.breaker.admit()

    def wait_for_breaker(self) -> None:
        """Have the message wait in the queue until the stage is called again."""
        self.retry_in, self.free = 0.0, True

    def progress_row(self) -> PipelineLineageEntry:
        """Return the row of a message that is being processed, or waits for its next attempt."""
        context, stage, work = self.context, self.stage, self.work
        return PipelineLineageEntry(
            id=self.lineage_id,
            execution_id=context.execution_id,
            route_id=context.route_id,
            stage=stage.name,
            adapter=stage.adapter_type,
            adapter_version=stage.adapter_version,
            message_id=work.envelope.message_id,
            origin_id=work.envelope.origin_id,
            parent_id=work.parent_id,
            root_id=work.root_id,
            replayed_from=work.replayed_from,
            status="processing" if self.retry_in is None else "pending",
            attempts=work.attempt + (self.retry_in is not None and not self.free),
            generation=context.scope.generation,
            input_key=work.input_key,
            input_hash=work.input_hash,
            error=self.error,
            started_at=self.started_at,
            metadata={**work.metadata, "input_key": work.input_key},
        )

    def record(self) -> OutcomeRecord:
        """Return the outcome as the record to be committed, naming the children it announces."""
        context, work = self.context, self.work
        record = OutcomeRecord(
            execution_id=context.execution_id,
            route=context.route_id,
            stage=self.stage.name,
            adapter=self.stage.adapter_type,
            adapter_version=self.stage.adapter_version,
            message_id=work.envelope.message_id,
            origin_id=work.envelope.origin_id,
            parent_id=work.parent_id,
            root_id=work.root_id,
            replayed_from=work.replayed_from,
            outcome=self.outcome,
            input_key=work.input_key,
            input_hash=work.input_hash,
            input_content_type=work.content_type,
            passed=list(work.passed),
            error=self.error,
            attempts=work.attempt,
            generation=context.scope.generation,
            started_at=self.started_at,
            completed_at=context.clock.now(),
            config_hash=context.config_hash,
            batch_id=self.batch_id,
            metadata=self.metadata or dict(work.metadata),
        )
        if self.artefact is not None:
            record.output_hash = self.artefact.sha256
            record.content_type = self.artefact.content_type
            record.size = len(self.artefact.data)
            record.output_key = context.store.object_name(record.key, self.artefact)
        if self.outcome == "fanned_out":
            record.children = self.fanned_out.children
            record.children_keys = self.fanned_out.children_keys
            record.children_count = self.fanned_out.count
        else:
            hop = self._hop(record)
            if hop is not None:
                record.children = [hop]
                record.children_count = 1
        return record

    def _hop(self, record: OutcomeRecord) -> Child | None:
        """Return the message that leaves for another route, if this outcome sends one."""
        context = self.context
        if self.outcome == "failed":
            target = context.dead_letters
        elif self.outcome == "filtered" or not context.is_last(self.stage.name):
            return None
        else:
            target = context.outbound
        if target is None or not target.route:
            return None
        name = ids.ChildNames().next(None)
        origin = ids.child_origin(record.origin_id, record.route, record.stage, target.queue, name)
        stored = self.outcome == "stored"
        metadata: dict[str, Any] = {}
        if self.error is not None:
            metadata = {
                "error": {"type": self.error.type, "message": self.error.message},
                "failed_stage": f"{record.route}/{record.stage}",
            }
        return Child(
            message_id=ids.message_id(record.execution_id, origin),
            origin_id=origin,
            route=target.route,
            entry_stage=target.entry_stage,
            input_key="" if stored else record.input_key or "",
            input_hash=(record.output_hash if stored else record.input_hash) or "",
            content_type=(record.content_type if stored else None) or self.work.content_type,
            name=name,
            metadata=metadata,
        )
