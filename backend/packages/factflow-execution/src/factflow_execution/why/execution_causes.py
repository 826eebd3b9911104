"""Why an execution is where it is, judged from its facts: whatever is not completed has a cause."""

from __future__ import annotations

from collections.abc import Iterator

from factflow_execution.runtimes import silent_words
from factflow_execution.why.causes import Cause, CauseCode
from factflow_execution.why.facts import ExecutionFacts
from factflow_execution.why.failure_causes import group_causes
from factflow_execution.why.route_causes import holding_cause, waiting_cause
from factflow_execution.why.words import counted, moment, told

_TROUBLE = frozenset({"storage_unavailable", "queue_unavailable", "database_unavailable"})
"""Codes of what recovery tries again by itself."""


def execution_causes(facts: ExecutionFacts) -> tuple[Cause, ...]:
    """Return the causes, those that matter most first; at least one, whatever the status."""
    by_status = {
        "running": _running,
        "interrupted": _interrupted,
        "failed": _failed,
        "cancelled": _cancelled,
        "completed": _completed,
    }
    return (*by_status[facts.status](facts), *deletion_causes(facts), *lineage_causes(facts))


def summary(facts: ExecutionFacts) -> str:
    """Return how far the execution is, in one sentence."""
    words = f"execution {facts.name} is {facts.status}"
    row, progress = facts.execution, facts.progress
    if facts.status in {"running", "interrupted"} and progress is not None:
        return f"{words}: {progress.settled} of {progress.announced} messages have ended"
    if row.completed_at is not None:
        words += f" since {moment(row.completed_at)}"
    if row.message_count is not None:
        words += f": {counted(row.message_count, 'message')}, {row.failed_count or 0} failed"
    return words


def deletion_causes(facts: ExecutionFacts) -> Iterator[Cause]:
    """Yield that the execution, or what it stored, was deleted on purpose."""
    deletion = facts.deletion
    if deletion is not None:
        following = f"factflow execution get {facts.id}"
        since = deletion.deleted_at or deletion.requested_at
        yield _cause(facts, "deleted", deletion.sentence, following, since=since)


def lineage_causes(facts: ExecutionFacts) -> Iterator[Cause]:
    """Yield what an answer may lack because lineage does."""
    if facts.lineage_trouble is not None:
        yield _cause(
            facts,
            "lineage_unavailable",
            f"lineage could not be asked, so this tells less than is known: {told(facts.lineage_trouble)}",
            "factflow system health",
        )
    elif facts.execution.lineage_gap and facts.status not in {"running", "interrupted"}:
        yield _cause(
            facts,
            "lineage_incomplete",
            f"lineage lacks rows of {facts.name} that are being made again from records: what is said of "
            "single messages may be behind",
            "factflow system health",
        )


def _cause(
    facts: ExecutionFacts,
    code: CauseCode,
    sentence: str,
    following: str,
    *,
    since: float | None = None,
    count: int | None = None,
    because: tuple[Cause, ...] = (),
) -> Cause:
    return Cause(
        code=code,
        sentence=sentence,
        next=following,
        since=since,
        execution_id=facts.id,
        count=count,
        because=because,
    )


def _running(facts: ExecutionFacts) -> tuple[Cause, ...]:
    wait = f"factflow execution wait {facts.name}"
    if facts.launching and not facts.runs_here:
        words = f"{facts.name} starts: its adapters are opened"
        return (*_cancelling(facts), _cause(facts, "starting", words, wait))
    if facts.end_unwritten is not None:
        words = f"{facts.name} has ended, but that cannot be written: {told(facts.end_unwritten)}"
        return (_cause(facts, "end_not_written", words, "factflow system health"),)
    if facts.silent_owner is not None:
        words = f"how {facts.name} stands is not known now: {silent_words(facts.silent_owner)}"
        return (*_cancelling(facts), _cause(facts, "owner_silent", words, _again(facts)))
    if not facts.runs_here:
        words = f"no server process runs {facts.name}: the next start of one takes it up"
        return (_cause(facts, "no_owner", words, "factflow serve"),)
    found = [*_cancelling(facts), *_engine_holds(facts), *_publishing(facts), *_routes(facts)]
    if not found:
        words = f"all messages of {facts.name} have ended: the final status is about to be written"
        found = [_cause(facts, "ending", words, wait)]
    return tuple(found)


def _again(facts: ExecutionFacts) -> str:
    return f"factflow execution why {facts.name}"


def _cancelling(facts: ExecutionFacts) -> Iterator[Cause]:
    if not facts.execution.cancel_requested:
        return
    in_hand = sum(route.runtime.in_flight for route in facts.routes.values())
    what = f"{counted(in_hand, 'message')} in hand" if facts.runs_here else "what is being opened"
    words = f"it was asked to end: {what} may end within the grace period"
    get = f"factflow execution get {facts.name}"
    yield _cause(facts, "cancel_requested", words, get, count=in_hand)


def _engine_holds(facts: ExecutionFacts) -> Iterator[Cause]:
    who = {"_publisher": "the publisher", "_end": "letting go of the queues"}
    for name, reason in facts.engine_holds.items():
        if name in who:
            yield holding_cause(facts, who[name], reason)


def _publishing(facts: ExecutionFacts) -> Iterator[Cause]:
    planned, published = facts.planned, facts.published or 0
    if planned is not None:
        unfinished = published < planned
        words = f"{published} of the plan's {counted(planned, 'message')} are published so far"
    else:
        announced = facts.progress is not None and facts.progress.outstanding > 0
        unfinished = announced and not any(route.messages for route in facts.routes.values())
        words = f"{facts.name} is putting its first messages into its queues"
    if unfinished:
        yield _cause(facts, "publishing", words, f"factflow execution get {facts.name}")


def _routes(facts: ExecutionFacts) -> Iterator[Cause]:
    """Yield a cause for every route with messages, but for those told of as another one's reason."""
    busy = {
        name: waiting_cause(facts, name) for name, route in facts.routes.items() if route.messages
    }
    told_below = {
        below.route
        for name, cause in busy.items()
        for below in _below(cause)
        if below.route != name and below.code != "held_back"
    }
    free = {name: cause for name, cause in busy.items() if name not in told_below}
    yield from (free or busy).values()  # a circle of routes holds itself back: it is told whole


def _below(cause: Cause) -> Iterator[Cause]:
    for one in cause.because:
        yield one
        yield from _below(one)


def _interrupted(facts: ExecutionFacts) -> tuple[Cause, ...]:
    row = facts.execution
    info = row.error_info or {}
    kind, message = info.get("type"), info.get("message")
    stopped = "its server stopped before it ended" if message is None else told(message)
    if kind is not None:
        stopped = "its server stopped or died before it ended"
    return (
        _cause(
            facts,
            "interrupted",
            f"{facts.name} was interrupted: {stopped}",
            f"factflow execution get {facts.name}",
            since=row.completed_at,
            because=tuple(_not_taken_up(facts, kind, message)),
        ),
    )


def _not_taken_up(facts: ExecutionFacts, kind: str | None, message: str | None) -> Iterator[Cause]:
    """Yield why recovery has not set it going again."""
    slots = facts.slots
    reason = facts.put_off or (message if kind in _TROUBLE else None)
    if facts.execution.cancel_requested:
        words = "it was asked to end: the next start of a server ends it as cancelled"
        yield _cause(facts, "cancel_requested", words, f"factflow execution cancel {facts.name}")
    elif facts.launching and facts.id not in slots.waiting:
        words = "it is being taken up again: its adapters are opened"
        yield _cause(facts, "starting", words, f"factflow execution wait {facts.name}")
    elif slots.waiting:
        words = (
            f"{slots.taken} of at most {slots.limit} executions run: it goes on when one of them has "
            "ended (max_concurrent_executions)"
        )
        yield _cause(facts, "waits_for_slot", words, "factflow execution list --status running")
    elif reason is not None:
        words = f"taking it up is tried again by itself: {told(reason)}"
        yield _cause(facts, "recovery_put_off", words, "factflow system health")
    elif kind is not None:
        words = f"it could not be taken up again ({kind}): {told(message)}"
        again = "factflow serve"
        yield _cause(facts, "recovery_refused", words, again)


def _failed(facts: ExecutionFacts) -> tuple[Cause, ...]:
    row = facts.execution
    info = row.error_info
    if info is not None:
        words = told(info.get("message"))
        if info.get("type") is not None:
            code: CauseCode = "launch_failed"
            words = f"{facts.name} could not be started ({info['type']}): {words}"
        elif row.message_count is None:
            code, words = "not_recoverable", f"{facts.name} cannot go on: {words}"
        else:
            code, words = "engine_fault", f"a fault ended {facts.name}: {words}"
        following = f"factflow execution get {facts.name}"
        return (_cause(facts, code, words, following, since=row.completed_at), *_groups(facts))
    return (_failures(facts, "messages_failed"),)


def _cancelled(facts: ExecutionFacts) -> tuple[Cause, ...]:
    row = facts.execution
    words = f"{facts.name} was cancelled"
    if row.completed_at is not None:
        words += f" at {moment(row.completed_at)}"
    following = f"factflow execution stats {facts.name}"
    cancelled = _cause(facts, "cancelled", words, following, since=row.completed_at)
    return (cancelled, *_groups(facts))


def _completed(facts: ExecutionFacts) -> tuple[Cause, ...]:
    row = facts.execution
    stats = f"factflow execution stats {facts.name}"
    if row.warning:
        return (_cause(facts, "nothing_to_do", told(row.warning), stats, since=row.completed_at),)
    words = f"every message of {facts.name} has ended"
    done = _cause(facts, "done", words, stats, since=row.completed_at)
    return (done, _failures(facts, "failures_tolerated")) if row.failed_count else (done,)


def _failures(facts: ExecutionFacts, code: CauseCode) -> Cause:
    row = facts.execution
    failed, total = row.failed_count or 0, row.message_count or 0
    settings = facts.graph.config.error_handling if facts.graph is not None else None
    tolerance = settings.failure_tolerance if settings else 0.0
    verb = "allows" if code == "failures_tolerated" else "allows only"
    words = f"{failed} of {counted(total, 'message')} failed"
    if tolerance:
        words += f", and failure_tolerance {verb} {tolerance * 100:g} %"
    return _cause(
        facts,
        code,
        words,
        f"factflow execution replay {facts.name} --only failed",
        since=row.completed_at,
        count=failed,
        because=_groups(facts),
    )


def _groups(facts: ExecutionFacts) -> tuple[Cause, ...]:
    return group_causes(facts.failures, facts.id)
