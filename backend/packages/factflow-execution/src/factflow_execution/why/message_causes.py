"""Why a message is where it is: in a queue, in work, ended, or cut off; judged from its facts."""

from __future__ import annotations

from collections.abc import Iterator

from factflow_engine.config.models import ConditionConfig
from factflow_execution.why.causes import Cause, CauseCode
from factflow_execution.why.execution_causes import execution_causes, lineage_causes
from factflow_execution.why.facts import MessageFacts
from factflow_execution.why.failure_causes import failed_message, group_causes
from factflow_execution.why.route_causes import holding_cause, route_causes, waiting_cause
from factflow_execution.why.words import counted, error, length, moment, told
from factflow_lineage.models import PipelineLineageEntry
from factflow_protocols.queue import MessagePlace


def message_causes(facts: MessageFacts) -> tuple[Cause, ...]:
    """Return the causes, the present state first, then what was passed by and what may be amiss."""
    place = facts.place
    standing = place is not None and place.state != "settled"
    now = _standing(facts, place) if place is not None and standing else _ended(facts)
    return (*now, *_skipped(facts), *_doubts(facts))


def summary(facts: MessageFacts) -> str:
    """Return where the message is, in one sentence."""
    where = f" in route {facts.route_id}" if facts.route_id else ""
    execution = facts.execution
    return f"message {facts.message_id}{where} of execution {execution.name}, which is {execution.status}"


def status(facts: MessageFacts) -> str:
    """Return the message's state in a word: its place in the queue, else its row's status."""
    if facts.place is not None and facts.place.state != "settled":
        return facts.place.state
    row = facts.row
    if row is not None:
        return row.outcome or row.status
    return "settled" if facts.place is not None else "unknown"


def _cause(
    facts: MessageFacts,
    code: CauseCode,
    sentence: str,
    following: str,
    *,
    stage: str | None = None,
    since: float | None = None,
    until: float | None = None,
    because: tuple[Cause, ...] = (),
) -> Cause:
    return Cause(
        code=code,
        sentence=sentence,
        next=following,
        since=since,
        until=until,
        execution_id=facts.execution.id,
        route=facts.route_id,
        stage=stage,
        message_id=facts.message_id,
        because=because,
    )


def _standing(facts: MessageFacts, place: MessagePlace) -> Iterator[Cause]:
    """Yield why a message that has not settled is where it is."""
    if place.state == "delayed":
        yield _delayed(facts, place)
    elif place.state == "in_flight":
        yield from _in_hand(facts, place)
    else:
        ahead = f"behind {counted(place.ahead, 'other')}" if place.ahead else "and is next"
        yield _cause(
            facts,
            "in_queue",
            f"it waits in queue {place.queue} {ahead}",
            f"factflow why {facts.route_id or place.queue} --execution {facts.execution.name}",
            because=_of_route(facts, place.queue),
        )


def _of_route(facts: MessageFacts, queue: str) -> tuple[Cause, ...]:
    """Return the causes of the route that consumes the message's queue."""
    execution = facts.execution
    for route_id, route in execution.routes.items():
        if route.runtime.queue == queue:
            return route_causes(execution, route_id)
    if execution.runs_here:
        words = f"nothing consumes queue {queue}: no route of {execution.name} has it"
        return (_cause(facts, "no_consumer", words, f"factflow execution dag {execution.name}"),)
    return execution_causes(execution)


def _delayed(facts: MessageFacts, place: MessagePlace) -> Cause:
    envelope, row = facts.envelope, facts.row
    stage = envelope.entry_stage if envelope is not None else None
    attempt = envelope.attempt if envelope is not None else 1
    at = f" at {moment(place.not_before)}" if place.not_before else ""
    words = f"it waits for attempt {attempt} of {_attempts(facts)} at {facts.route_id}/{stage}{at}"
    if row is not None and row.error is not None and row.outcome is None:
        words += f", after {error(row.error.type, row.error.message)}"
    resting = facts.execution.routes.get(facts.route_id or "")
    blocked = resting is not None and resting.runtime.state != "running"
    return _cause(
        facts,
        "retry",
        words,
        f"factflow lineage get {row.id if row else facts.message_id}",
        stage=stage,
        until=place.not_before,
        because=_of_route(facts, place.queue) if blocked else (),
    )


def _in_hand(facts: MessageFacts, place: MessagePlace) -> Iterator[Cause]:
    execution, row = facts.execution, facts.row
    route = execution.routes.get(facts.route_id or "")
    reason = route.runtime.holding if route is not None else None
    if facts.gathering_at is not None:
        yield _cause(
            facts,
            "gathering",
            f"it waits at {facts.route_id}/{facts.gathering_at} for the batch to fill, or for its "
            "wait_ms to pass",
            f"factflow execution stats {execution.name}",
            stage=facts.gathering_at,
        )
        return
    begun = row is not None and row.outcome is None and row.status == "processing"
    if route is not None and reason is not None and not begun:
        yield from (
            cause
            for cause in route_causes(execution, route.name)
            if cause.code in {"holding", "handled_alone"}
        )
        return
    stage, since = None, None
    words = f"it is in the hands of route {facts.route_id}"
    if row is not None and begun:
        stage, since = row.stage, row.started_at
        words += f", at stage {stage} since {moment(since)}, for {length(execution.now - since)}"
    elif facts.envelope is not None:
        words += f", which it entered at stage {facts.envelope.entry_stage}"
    if route is not None and route.runtime.in_flight > route.runtime.concurrency:
        words += (
            f"; {route.runtime.in_flight} are in hand, of which {route.runtime.concurrency} at a time "
            "have an adapter running"
        )
    because = [holding_cause(execution, f"route {facts.route_id}", reason)] if reason else []
    yield _cause(
        facts,
        "in_work",
        words,
        f"factflow why {facts.route_id} --execution {execution.name}",
        stage=stage,
        since=since,
        because=tuple(because),
    )
    if place.crashes:
        yield _cause(
            facts,
            "handled_alone",
            f"it was being handled at {counted(place.crashes, 'crash', 'crashes')} of the process: one "
            "that was at two is handled alone",
            "factflow system health",
        )


def _ended(facts: MessageFacts) -> Iterator[Cause]:
    """Yield how a message ended that stands in no queue (any more)."""
    row = facts.row
    if facts.damaged_record is not None:
        following = f"factflow storage metadata {facts.damaged_record}"
        words = f"its outcome record {facts.damaged_record} cannot be read"
        yield _cause(facts, "object_damaged", words, following)
    if row is None:
        yield from _without_row(facts)
    elif row.outcome == "failed":
        yield failed_message(row, _attempts(facts))
    elif row.outcome == "filtered":
        yield _cause(
            facts,
            "filtered",
            f"it was filtered at {row.route_id}/{row.stage}: the adapter {row.adapter} returned nothing "
            "for it, which ends it in order",
            f"factflow lineage get {row.id}",
            stage=row.stage,
            since=row.completed_at,
        )
    elif row.outcome is None:
        yield _cut_off(facts, row)
    elif row.pending_children and not _cannot_go_on(facts):
        yield _waits_for_children(facts, row)
    elif row.pending_children:
        words = (
            f"{counted(row.pending_children, 'child', 'children')} of it had not ended when "
            f"{facts.execution.name} ended {facts.execution.status}"
        )
        below = _below(facts)
        replay = f"factflow execution replay {row.execution_id} --from-stage {row.stage}"
        yield _cause(facts, "cut_off", words, replay, stage=row.stage, because=below)
    else:
        yield _done(facts, row)


def _without_row(facts: MessageFacts) -> Iterator[Cause]:
    execution = facts.execution
    yield _cause(
        facts,
        "lineage_incomplete",
        "its handling has ended, but lineage has no row of it yet, and its record was not found",
        f"factflow lineage list --execution {execution.name} --message {facts.message_id}",
    )


def _cannot_go_on(facts: MessageFacts) -> bool:
    return facts.execution.status in {"completed", "failed", "cancelled"}


def _cut_off(facts: MessageFacts, row: PipelineLineageEntry) -> Cause:
    execution = facts.execution
    doing = "waited for another attempt" if row.status == "pending" else "was in work"
    if not _cannot_go_on(facts):
        return _cause(
            facts,
            "in_work",
            f"it {doing} at {row.route_id}/{row.stage} since {moment(row.started_at)}; the end of that is "
            "not known yet",
            f"factflow lineage get {row.id}",
            stage=row.stage,
            since=row.started_at,
            because=() if execution.status == "running" else execution_causes(execution),
        )
    return _cause(
        facts,
        "cut_off",
        f"it {doing} at {row.route_id}/{row.stage} when {execution.name} ended {execution.status}",
        f"factflow execution replay {row.execution_id} --from-stage {row.stage}",
        stage=row.stage,
        since=row.started_at,
    )


def _waits_for_children(facts: MessageFacts, row: PipelineLineageEntry) -> Cause:
    open_count = counted(row.pending_children, "child", "children")
    return _cause(
        facts,
        "waits_for_children",
        f"it is through with {row.route_id}/{row.stage} ({row.outcome}); {open_count} of it have not "
        "ended, nor all that came of them",
        f"factflow lineage children {row.id}",
        stage=row.stage,
        since=row.completed_at,
        because=_below(facts),
    )


def _below(facts: MessageFacts) -> tuple[Cause, ...]:
    """Return what is known of the message's descendants: failures, work under way, routes they wait at."""
    execution = facts.execution
    found = list(group_causes(facts.failures_below, execution.id))
    for row in facts.under_way_below:
        waits = row.status == "pending"
        doing = (
            "waits for another attempt" if waits else f"is in work since {moment(row.started_at)}"
        )
        found.append(
            Cause(
                code="retry" if waits else "in_work",
                sentence=f"message {row.message_id}, which came of it, {doing} at "
                f"{row.route_id}/{row.stage}",
                next=f"factflow why {row.message_id}",
                since=row.started_at,
                execution_id=execution.id,
                route=row.route_id,
                stage=row.stage,
                message_id=row.message_id,
            )
        )
    found += [
        waiting_cause(execution, route_id)
        for route_id in facts.children_routes
        if route_id in execution.routes and execution.routes[route_id].messages
    ]
    return tuple(found)


def _done(facts: MessageFacts, row: PipelineLineageEntry) -> Cause:
    below = group_causes(facts.failures_below, facts.execution.id)
    went = f"it went through {row.route_id}/{row.stage} ({row.outcome})"
    words = f"{went}; all that came of it has ended"
    if below:
        words = f"{went}; of what came of it some failed"
    return _cause(
        facts,
        "done",
        words,
        f"factflow lineage chain {row.id}",
        stage=row.stage,
        since=row.completed_at,
        because=below,
    )


def _skipped(facts: MessageFacts) -> Iterator[Cause]:
    """Yield the stages whose condition did not hold for the message."""
    graph = facts.execution.graph
    named = [
        (row.route_id, stage) for row in facts.rows for stage in row.metadata.get("passed", [])
    ]
    if facts.envelope is not None:
        named += [(facts.envelope.route, stage) for stage in facts.envelope.passed]
    if facts.row is not None and facts.row.outcome == "passed":
        named.append((facts.row.route_id, facts.row.stage))
    for route_id, stage in dict.fromkeys(named):
        condition = None
        if graph is not None and route_id in graph.config.routes:
            found = [each for each in graph.stages(route_id) if each.stage_name == stage]
            condition = found[0].condition if found else None
        words = f"stage {route_id}/{stage} was passed by"
        if condition is not None:
            words += f": its condition `{_condition(condition)}` did not hold"
        following = f"factflow lineage chain {facts.row.id if facts.row else facts.message_id}"
        yield _cause(facts, "skipped", words, following, stage=stage)


def _condition(condition: ConditionConfig) -> str:
    if condition.operator == "exists":
        return f"{condition.field} {'exists' if condition.value is not False else 'is missing'}"
    return told(f"{condition.field} {condition.operator} {condition.value!r}")


def _doubts(facts: MessageFacts) -> Iterator[Cause]:
    """Yield what is amiss beside the message's own state, or may make this answer wrong."""
    if facts.missing_key is not None:
        words = f"the artefact {facts.missing_key} is not in storage: what reads it will fail"
        following = f"factflow storage metadata {facts.missing_key}"
        yield _cause(facts, "artefact_missing", words, following)
    for trouble, what in ((facts.storage_trouble, "storage"), (facts.queue_trouble, "the queue")):
        if trouble is not None:
            words = f"{what} could not be asked about it: {told(trouble)}"
            yield _cause(facts, "holding", words, "factflow system health")
    if facts.from_record:
        words = "lineage lacks its row: this was read from its outcome record"
        following = f"factflow lineage list --execution {facts.execution.name}"
        yield _cause(facts, "lineage_incomplete", words, following)
    yield from lineage_causes(facts.execution)


def _attempts(facts: MessageFacts) -> int:
    graph, route_id = facts.execution.graph, facts.route_id
    if graph is None or route_id not in graph.config.routes:
        return 1
    return graph.config.error_handling_for(route_id).max_retries + 1
