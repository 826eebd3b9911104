"""Why a message that has not settled is where it is: queued, between attempts, in hand."""

from __future__ import annotations

from collections.abc import Iterator

from factflow_execution.why.causes import Cause
from factflow_execution.why.execution_causes import execution_causes
from factflow_execution.why.facts import MessageFacts
from factflow_execution.why.message_cause import attempts_of, message_cause
from factflow_execution.why.route_causes import holding_cause, route_causes
from factflow_execution.why.words import counted, error, length, moment
from factflow_protocols.queue import MessagePlace


def standing_causes(facts: MessageFacts, place: MessagePlace) -> Iterator[Cause]:
    """Yield why a message that has not settled is where it is."""
    if place.state == "delayed":
        yield _delayed(facts, place)
    elif place.state == "in_flight":
        yield from _in_hand(facts, place)
    else:
        yield message_cause(
            facts,
            "in_queue",
            f"it waits in queue {place.queue}{_order(place.ahead)}",
            f"factflow why {facts.route_id or place.queue} --execution {facts.execution.name}",
            because=_of_route(facts, place.queue),
        )


def _order(ahead: int | None) -> str:
    if ahead is None:  # a broker does not tell
        return ""
    return f" behind {counted(ahead, 'other')}" if ahead else " and is next"


def _of_route(facts: MessageFacts, queue: str) -> tuple[Cause, ...]:
    """Return the causes of the route that consumes the message's queue."""
    execution = facts.execution
    for route_id, route in execution.routes.items():
        if route.runtime.queue == queue:
            return route_causes(execution, route_id)
    if execution.runs_here:
        words = f"nothing consumes queue {queue}: no route of {execution.name} has it"
        return (
            message_cause(facts, "no_consumer", words, f"factflow execution dag {execution.name}"),
        )
    return execution_causes(execution)


def _delayed(facts: MessageFacts, place: MessagePlace) -> Cause:
    envelope, row = facts.envelope, facts.row
    stage = envelope.entry_stage if envelope is not None else None
    attempt = envelope.attempt if envelope is not None else 1
    at = f" at {moment(place.not_before)}" if place.not_before else ""
    words = (
        f"it waits for attempt {attempt} of {attempts_of(facts)} at {facts.route_id}/{stage}{at}"
    )
    if row is not None and row.error is not None and row.outcome is None:
        words += f", after {error(row.error.type, row.error.message)}"
    resting = facts.execution.routes.get(facts.route_id or "")
    blocked = resting is not None and resting.runtime.state != "running"
    return message_cause(
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
        yield message_cause(
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
    yield message_cause(
        facts,
        "in_work",
        words,
        f"factflow why {facts.route_id} --execution {execution.name}",
        stage=stage,
        since=since,
        because=tuple(because),
    )
    if place.crashes:
        yield message_cause(
            facts,
            "handled_alone",
            f"it was being handled at {counted(place.crashes, 'crash', 'crashes')} of the process: one "
            "that was at two is handled alone",
            "factflow system health",
        )
