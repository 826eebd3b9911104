"""What an answer is made of: causes, each with a code that never changes its meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

SubjectKind = Literal["execution", "route", "message"]

CauseCode = Literal[
    # an execution's life
    "done",
    "nothing_to_do",
    "messages_failed",
    "failures_tolerated",
    "engine_fault",
    "launch_failed",
    "not_recoverable",
    "cancelled",
    "cancel_requested",
    "starting",
    "ending",
    "end_not_written",
    "no_owner",
    "owner_silent",
    "publishing",
    "deleted",
    "interrupted",
    "waits_for_slot",
    "recovery_refused",
    "recovery_put_off",
    # what keeps a route
    "waiting",
    "paused",
    "held_back",
    "breaker_open",
    "breaker_probing",
    "holding",
    "handled_alone",
    "no_consumer",
    "no_worker",
    "worker_refused",
    "retry",
    "gathering",
    "in_work",
    "loop_stalled",
    "idle",
    # how far a message is
    "in_queue",
    "waits_for_children",
    "filtered",
    "skipped",
    "failed",
    "artefact_missing",
    "object_damaged",
    "cut_off",
    # what an answer may lack
    "lineage_incomplete",
    "lineage_unavailable",
]

CODES: tuple[CauseCode, ...] = get_args(CauseCode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason, in one sentence, with the command to try `next` and what it comes from (`because`).

    `since` and `until` are Unix seconds, as far as they are known; `count` is how many messages it is
    about. Ids say where it is: those that are None do not matter to it.
    """

    code: CauseCode
    sentence: str
    next: str
    since: float | None = None
    until: float | None = None
    execution_id: str | None = None
    route: str | None = None
    stage: str | None = None
    message_id: str | None = None
    count: int | None = None
    because: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Why `subject` is as the `summary` says; whatever is not completed has at least one cause.

    `execution_id` is None for a route that was asked about in all executions; `as_of` (Unix seconds) is
    when the facts were gathered.
    """

    kind: SubjectKind
    subject: str
    execution_id: str | None
    status: str
    summary: str
    as_of: float
    causes: tuple[Cause, ...]
