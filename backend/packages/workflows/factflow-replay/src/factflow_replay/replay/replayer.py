"""Selects what a replay publishes: the frontier of the source, seen from one stage, narrowed down to the
messages that are meant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.execution_spec import PlannedMessage
from factflow_replay.replay.continuation import Continuation
from factflow_replay.replay.errors import MessagesNotFoundError
from factflow_replay.replay.frontier import Candidate, Frontier
from factflow_replay.replay.message_filter import MessageFilter, sampled
from factflow_replay.replay.models import SelectionCounts
from factflow_replay.replay.paths import Paths, upstream_of
from factflow_replay.replay.route_resolver import ReplayTarget, RouteResolver
from factflow_replay.replay.source_view import SourceView


@dataclass(frozen=True, slots=True)
class SourceState:
    """Whether the source, and all that is laid over it, has `ended`, and ended with every message
    `settled`."""

    ended: bool
    settled: bool


class Replayer:
    """Makes one selection; `counts` is complete once `messages` has been read to its end.

    Without a `target` it takes every failed message, at the stage where it failed.
    """

    def __init__(
        self,
        view: SourceView,
        *,
        source: PipelineGraph,
        pipeline: PipelineGraph,
        resolver: RouteResolver,
        target: ReplayTarget | None,
        wanted: MessageFilter,
        state: SourceState,
        rerun: bool = False,
        sample: int | None = None,
    ) -> None:
        self.counts = SelectionCounts()
        self._view = view
        self._source = source
        self._resolver = resolver
        self._target = target
        self._wanted = wanted
        self._state = state
        self._rerun = rerun
        self._sample = sample
        self._frontier = Frontier(view, source, settled=state.settled)
        self._paths = Paths(source)
        self._continuation = Continuation(view, pipeline, target) if target else None

    async def messages(self) -> AsyncIterator[PlannedMessage]:
        """Yield what is to be published, the same in the same order for the same source.

        Raises `ObjectDamagedError` for a record that cannot be read, `StageNotFoundError` for a stage
        that the replay's pipeline lacks, and at the end `MessagesNotFoundError`.
        """
        await self._view.open(self._routes())
        async for candidate in self._chosen():
            message = self._publish(candidate)
            if message is not None:
                yield message
            elif self._continuation is not None:
                async for message in self._continuation.after_stage(candidate):
                    yield message
        if self._wanted.unmet:
            raise MessagesNotFoundError(self._wanted.unmet, self._place())

    async def _chosen(self) -> AsyncIterator[Candidate]:
        """Yield the candidates to be published: meant, publishable, first on their path, in the sample."""
        candidates = self._earliest() if self._paths_matter() else self._publishable(self.counts)
        if self._sample is None:
            async for candidate in candidates:
                yield candidate
            return
        kept, left_out = await sampled(candidates, self._sample)
        self.counts.not_sampled += left_out
        for candidate in kept:
            yield candidate

    def _paths_matter(self) -> bool:
        if self._target is None:
            return self._paths.has_dead_letters()
        return self._paths.may_pass_twice(self._target.route)

    async def _earliest(self) -> AsyncIterator[Candidate]:
        """Yield what lies behind no other candidate; those it lies behind lead to it again."""
        # Read twice instead of kept: a candidate is as large as its record.
        selected = (candidate.origin_id async for candidate in self._publishable(SelectionCounts()))
        await self._paths.load(self._view, self._routes(), selected)
        async for candidate in self._publishable(self.counts):
            if self._paths.is_behind(candidate.parent_lineage_id, candidate.origin_id):
                self.counts.covered += 1
            else:
                yield candidate

    async def _publishable(self, counts: SelectionCounts) -> AsyncIterator[Candidate]:
        async for candidate in self._candidates():
            if not self._wanted.is_meant(candidate):
                counts.not_matched += 1
            elif self._wanted.only_failed and candidate.row != "failed":
                counts.not_failed += 1
            elif self._may_be_published(candidate, counts):
                yield candidate

    def _candidates(self) -> AsyncIterator[Candidate]:
        if self._target is None:
            return self._frontier.failed()
        route, stage = self._target.route, self._target.stage
        if self._rerun and not self._wanted.only_failed:
            return self._frontier.announced_at(route, stage)
        return self._frontier.at_stage(route, stage)

    def _may_be_published(self, candidate: Candidate, counts: SelectionCounts) -> bool:
        """Tell whether the frontier has a way for a message; count it when it has none."""
        target = self._target
        goes_on = candidate.row in {"done", "passed", "skipped"}
        if candidate.row == "queued" and not self._state.ended:
            counts.not_settled += 1
        elif candidate.row == "filtered" and not self._rerun:
            counts.filtered += 1
        elif target is not None and target.redirected and not goes_on:
            counts.without_artefact += 1
        elif goes_on and not self._rerun and target is not None and target.entry_stage is None:
            counts.finished += 1
        else:
            return True
        return False

    def _publish(self, candidate: Candidate) -> PlannedMessage | None:
        """Count a candidate and return the message it is published as; None when there may be several, or
        none, and other objects tell which."""
        counts, continuation = self.counts, self._continuation
        if continuation is None:
            message = candidate.message
            counts.at_stage_failed += 1
            self._resolver.require(message.route, message.entry_stage)
            return message
        if candidate.row == "failed":
            counts.at_stage_failed += 1
        elif candidate.row == "queued":
            counts.at_stage_queued += 1
        elif self._rerun:
            self._count_again(candidate)
        else:
            if candidate.row == "done":
                counts.after_stage += 1
            else:
                counts.skipped_by_condition += 1
            return continuation.in_chain(candidate)
        return continuation.at_stage(candidate)

    def _count_again(self, candidate: Candidate) -> None:
        if candidate.row == "done":
            self.counts.run_again += 1
        elif candidate.row == "filtered":
            self.counts.filtered_again += 1
        else:
            self.counts.skipped_by_condition += 1

    def _routes(self) -> set[str]:
        """Return the routes that messages can have passed on their way to where they are selected."""
        if self._target is None:
            return set(self._source.config.routes)
        return upstream_of(self._source, self._target.route)

    def _place(self) -> str:
        if self._target is None:
            return "failed"
        return f"came to {self._target.route}/{self._target.stage}"
