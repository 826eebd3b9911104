"""What the orchestrator is asked to run, and what it answers at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from factflow_engine.config.models import PipelineGlobalConfig
from factflow_protocols.errors import FactflowError
from factflow_protocols.queue import Progress

FinalStatus = Literal["completed", "failed", "cancelled", "interrupted"]
RouteState = Literal["running", "paused", "stopped"]
StopRequest = asyncio.Future[tuple[FinalStatus, float]]
"""Done when an execution is asked to end early: as what, and after how many seconds of grace."""


class PlannedMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message that a publisher puts into an execution, before it has an id there.

    `origin_id` is the one it had in the source, so that both runs can be compared. `replayed_from` is
    the lineage row it continues from, `source_execution` and `source_message` the message it was there.
    """

    origin_id: str
    route: str
    entry_stage: str
    input_key: str
    input_hash: str
    content_type: str
    metadata: dict[str, Any] = {}
    replayed_from: str | None = None
    source_execution: str = ""
    source_message: str = ""
    name: str = ""
    """What it was called among its siblings, for the message that follows it on another way."""


class MessageSource(Protocol):
    """Streams what a publisher announces; the same items in the same order every time."""

    def items(self, start: int) -> AsyncIterator[PlannedMessage]:
        """Yield the items from position `start` on."""
        ...


@dataclass(frozen=True, slots=True)
class ExecutionSpec:
    """One execution, ready to run: its snapshot as models, and where its messages come from.

    Without a `source` the stored init payload (`_init`) is published to the init message's route; a
    pipeline without init message, or `skip_init`, announces nothing and completes with a warning.
    """

    execution_id: str
    config: PipelineGlobalConfig
    config_hash: str
    source: MessageSource | None = None
    skip_init: bool = False
    is_replay: bool = False
    resumed: bool = False
    """It ran before and was cut off: what is published again may have been handled already."""
    generation: int = 1


@dataclass(frozen=True, slots=True)
class FinalState:
    """How an execution ended. `warning` is for a person; `lineage_gap` counts rows not yet written."""

    status: FinalStatus
    progress: Progress
    lineage_gap: int = 0
    warning: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A route takes nothing because `route`, downstream of it, has `queued` messages, over `max_queued`."""

    route: str
    queued: int
    max_queued: int


@dataclass(frozen=True, slots=True)
class BreakerRuntime:
    """A stage's circuit breaker that is not closed. Times are Unix seconds; `probe_at` is when the next
    message may try again, `failures` how many failed in a row, `last_error` the last one's words."""

    stage: str
    state: Literal["open", "half_open"]
    opened_at: float
    probe_at: float
    failures: int
    last_error: str


@dataclass(frozen=True, slots=True)
class RouteRuntime:
    """A route as it stands now. `concurrency` is how many of its messages may be in work; `holding`
    says what it waits for when storage or queue are in trouble. Of one that is not `served_here` only
    what waits is known, and what others have in hand may count as `ready`."""

    route_id: str
    name: str
    queue: str
    state: RouteState
    in_flight: int
    ready: int
    delayed: int
    concurrency: int = 1
    held_back: HeldBack | None = None
    breakers: tuple[BreakerRuntime, ...] = ()
    holding: str | None = None
    served_here: bool = True


@dataclass(frozen=True, slots=True)
class ExecutionSlots:
    """How many executions may run at a time (`limit`), how many do, and which are `waiting` to."""

    limit: int
    taken: int
    waiting: tuple[str, ...] = ()


class TooManyConcurrentExecutionsError(FactflowError):
    """The server runs as many executions as it may."""

    code: ClassVar[str] = "too_many_executions"


def messages_only(progress: Progress) -> Progress:
    """Return the counts without the publisher, which is an item but no message."""
    unsettled = progress.outstanding
    announced = max(progress.announced - 1, 0)
    return Progress(announced, max(announced - unsettled, 0), progress.failed)
