"""What a replay is asked for, what it selected, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from factflow_execution.models import PipelineExecution
from factflow_protocols.errors import FactflowError

KEYS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Continue from `from_stage` (`stage`, or `route/stage`) of an execution, named by id or tag.

    With `to_route` the stage's artefacts go to that route's inbound queue instead of on down their own
    way. Both are looked up in the source's snapshot.
    """

    from_execution_id: str
    from_stage: str
    to_route: str | None = None
    tag: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    loaded_code: bool = False


@dataclass(slots=True)
class SelectionCounts:
    """Messages that came to the stage, by how they stood there.

    Published: `after_stage` (its stored artefacts), `skipped_by_condition` (their inputs),
    `at_stage_failed` and `at_stage_queued` (the stage runs on their inputs). Not published: `filtered`
    ones, those `not_settled` in a running source, those `covered` by an earlier one on the same path,
    and, with `to_route`, those `without_artefact`.
    """

    after_stage: int = 0
    skipped_by_condition: int = 0
    at_stage_failed: int = 0
    at_stage_queued: int = 0
    filtered: int = 0
    not_settled: int = 0
    covered: int = 0
    without_artefact: int = 0


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The execution a replay started, and what it publishes there."""

    execution: PipelineExecution
    from_execution_id: str
    from_stage: str
    to_route: str | None
    to_queue: str
    objects_found: int
    counts: SelectionCounts
    note: str


class StageNotFoundError(FactflowError):
    """The source's snapshot has no such stage."""

    code: ClassVar[str] = "stage_not_found"

    def __init__(self, stage: str, candidates: Iterable[str]) -> None:
        super().__init__(
            f"the source's pipeline has no stage {stage!r}",
            hint=f"its stages are {', '.join(candidates)}",
        )


class StageAmbiguousError(FactflowError):
    """Several routes have a stage of this name."""

    code: ClassVar[str] = "stage_ambiguous"

    def __init__(self, stage: str, candidates: Iterable[str]) -> None:
        super().__init__(
            f"stage {stage!r} is in several routes", hint=f"say which: {', '.join(candidates)}"
        )


class RouteNotFoundError(FactflowError):
    """The source's snapshot has no such route."""

    code: ClassVar[str] = "route_not_found"

    def __init__(self, route: str, candidates: Iterable[str]) -> None:
        super().__init__(
            f"the source's pipeline has no route {route!r}",
            hint=f"its routes are {', '.join(candidates)}",
        )


class ReplayEmptyError(FactflowError):
    """Nothing would be published; the message says why."""

    code: ClassVar[str] = "replay_empty"


class ArtefactsMissingError(FactflowError):
    """Records name artefacts that storage does not have; nothing was published."""

    code: ClassVar[str] = "artefacts_missing"

    def __init__(self, keys: Sequence[str]) -> None:
        shown = ", ".join(keys[:KEYS_SHOWN])
        more = f" and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else ""
        super().__init__(
            f"{len(keys)} artefacts are missing from storage: {shown}{more}",
            hint="restore them, or replay from an earlier stage",
        )
        self.keys = list(keys)
