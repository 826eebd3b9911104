"""What a message that stood at a stage is published as, in the pipeline that the replay runs.

at the stage            enters                  with
stored, or fanned out   after it                the artefact(s)
skipped by condition    after it                its input
failed                  at it                   its input
queued or cut off       where it stood          its input
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import PlannedMessage
from factflow_foundation import ids
from factflow_foundation.records import OutcomeRecord
from factflow_replay.replay.frontier import Candidate
from factflow_replay.replay.route_resolver import ReplayTarget
from factflow_replay.replay.source_records import continuing
from factflow_replay.replay.source_view import SourceView


class Continuation:
    """Makes planned messages out of candidates. `graph` is of the replay's pipeline."""

    def __init__(self, view: SourceView, graph: PipelineGraph, target: ReplayTarget) -> None:
        self._view = view
        self._graph = graph
        self._target = target

    def at_stage(self, candidate: Candidate) -> PlannedMessage:
        """Return the message that the stage runs for (once more)."""
        message = candidate.message
        if self._graph.resolve_stage(f"{message.route}/{message.entry_stage}"):
            return message
        # It stood before a conditional stage that this pipeline does not have.
        return msgspec.structs.replace(message, entry_stage=self._target.stage)

    def in_chain(self, candidate: Candidate) -> PlannedMessage | None:
        """Return the one message that goes on behind the stage within its route; None where `after_stage`
        has to be asked, which tells of all."""
        record, target = candidate.record, self._target
        if target.hops or target.entry_stage is None or record is None:
            return None
        if candidate.row != "done":
            return msgspec.structs.replace(candidate.message, entry_stage=target.entry_stage)
        return None if record.outcome == "fanned_out" else continuing(record, target.entry_stage)

    async def after_stage(self, candidate: Candidate) -> AsyncIterator[PlannedMessage]:
        """Yield what goes on behind the stage, nothing when nothing follows it."""
        record, target = candidate.record, self._target
        if record is None or target.entry_stage is None:
            return
        if candidate.row == "done" and record.outcome == "fanned_out":
            async for child in self._view.children(record):
                yield self._sent(child.message, record.origin_id, child.message)
            return
        message = self.in_chain(candidate)
        if message is not None:
            yield message
            return
        artefact = (
            continuing(record, target.stage) if candidate.row == "done" else candidate.message
        )
        yield self._sent(artefact, record.origin_id, await self._hop(candidate, record))

    async def _hop(self, candidate: Candidate, record: OutcomeRecord) -> PlannedMessage | None:
        """Return the message that the record sent to the next route, if it did."""
        if candidate.row != "skipped":
            async for child in self._view.children(record):
                return child.message
        return None

    def _sent(
        self, message: PlannedMessage, parent_origin: str, child: PlannedMessage | None
    ) -> PlannedMessage:
        """Send a message to the target. It keeps the origin that it had in the source, unless it takes
        another way now."""
        target = self._target
        if child is not None and not target.redirected:
            origin = child.origin_id
        else:
            name = child.name if child is not None and child.name else ids.ChildNames().next(None)
            origin = ids.child_origin(
                parent_origin, target.route, target.stage, target.to_queue, name
            )
        return msgspec.structs.replace(
            message,
            origin_id=origin,
            route=target.to_route,
            entry_stage=target.entry_stage or "",
        )
