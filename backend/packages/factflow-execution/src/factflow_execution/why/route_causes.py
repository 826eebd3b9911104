"""Why a route's messages do not move, judged from the facts of its execution.

A route that is held back by another one leads to that route's causes, and so on: a chain that ends where
somebody can do something.
"""

from __future__ import annotations

from collections.abc import Iterator

from factflow_engine.execution_spec import BreakerRuntime
from factflow_engine.suspects import is_turn_reason
from factflow_execution.why.causes import Cause
from factflow_execution.why.facts import ExecutionFacts, Pause, RouteFacts
from factflow_execution.why.words import counted, error, length, moment, quoted, told
from factflow_execution.why.worker_causes import worker_causes

STALL_COUNTS_SECONDS = 300.0
"""How long a stall of the event loop is told as a reason."""


def waiting_cause(
    execution: ExecutionFacts, route_id: str, above: frozenset[str] = frozenset()
) -> Cause:
    """Return the cause that this route still has messages, with why they do not move."""
    route = execution.routes[route_id]
    now = route.runtime
    parts = []
    if now.ready:
        parts.append(f"{counted(now.ready, 'message')} waiting in queue {now.queue}")
    if now.in_flight:
        parts.append(f"{now.in_flight} in hand")
    if now.delayed:
        parts.append(f"{now.delayed} waiting for another attempt")
    return Cause(
        code="waiting",
        sentence=f"route {route_id} has {', '.join(parts) or 'no messages'}",
        next=f"factflow why {route_id} --execution {execution.name}",
        execution_id=execution.id,
        route=route_id,
        count=route.messages,
        because=route_causes(execution, route_id, above),
    )


def route_causes(
    execution: ExecutionFacts, route_id: str, above: frozenset[str] = frozenset()
) -> tuple[Cause, ...]:
    """Return why a running route is as it is, what keeps it from taking messages first; at least one.

    `above` are routes whose causes this one is part of: a circle is told once around.
    """
    route = execution.routes[route_id]
    kept = [
        *_stopped(execution, route),
        *_paused(execution, route),
        *(_breaker(execution, route, breaker) for breaker in route.runtime.breakers),
        *_held_back(execution, route, above | {route_id}),
        *_holding(execution, route),
        *worker_causes(execution, route),
    ]
    busy = [
        *_next_attempt(execution, route),
        *_gathering(execution, route),
        *_in_work(execution, route),
        *_stall(execution, route),
    ]
    if not kept and not busy:
        busy = [_idle(execution, route, above | {route_id})]
    return (*kept, *busy)


def pause_cause(route_id: str, pause: Pause, execution_id: str | None = None) -> Cause:
    """Return the cause that a route is paused, in an execution or wherever it may come to run."""
    who = f" by {quoted(pause.by)}" if pause.by else ""
    until = f" until {moment(pause.until)}" if pause.until else ""
    why = f" ({quoted(pause.reason)})" if pause.reason else ""
    return Cause(
        code="paused",
        sentence=f"route {route_id} is paused{who} since {moment(pause.since)}{until}{why}",
        next=f"factflow pipeline resume {route_id}",
        since=pause.since,
        until=pause.until,
        execution_id=execution_id,
        route=route_id,
    )


def _paused(execution: ExecutionFacts, route: RouteFacts) -> Iterator[Cause]:
    if route.pause is not None:
        yield pause_cause(route.name, route.pause, execution.id)


def _stopped(execution: ExecutionFacts, route: RouteFacts) -> Iterator[Cause]:
    if route.runtime.state == "stopped":
        yield Cause(
            code="no_consumer",
            sentence=f"nothing consumes queue {route.runtime.queue}: route {route.name} has stopped "
            "taking messages, as at the end of its execution or of the server",
            next=f"factflow execution get {execution.name}",
            execution_id=execution.id,
            route=route.name,
        )


def _breaker(execution: ExecutionFacts, route: RouteFacts, breaker: BreakerRuntime) -> Cause:
    opened = (
        f"since {moment(breaker.opened_at)}, after {counted(breaker.failures, 'failure')} in a row"
    )
    last = f"the last with {quoted(breaker.last_error)}"
    if breaker.state == "open":
        state = f"is open until {moment(breaker.probe_at)}, {opened}, {last}"
    else:
        state = f"was open {opened}, {last}; one message probes it now"
    return Cause(
        code="breaker_open" if breaker.state == "open" else "breaker_probing",
        sentence=f"the circuit breaker of {route.name}/{breaker.stage} {state}",
        next=f"factflow lineage failures --execution {execution.name}",
        since=breaker.opened_at,
        until=breaker.probe_at if breaker.state == "open" else None,
        execution_id=execution.id,
        route=route.name,
        stage=breaker.stage,
    )


def _held_back(
    execution: ExecutionFacts, route: RouteFacts, above: frozenset[str]
) -> Iterator[Cause]:
    held = route.runtime.held_back
    if held is None:
        return
    known = held.route in execution.routes and held.route not in above
    yield Cause(
        code="held_back",
        sentence=f"route {route.name} takes nothing, since route {held.route} behind it has "
        f"{counted(held.queued, 'message')} waiting, over its max_queued of {held.max_queued}",
        next=f"factflow why {held.route} --execution {execution.name}",
        execution_id=execution.id,
        route=route.name,
        count=held.queued,
        because=route_causes(execution, held.route, above) if known else (),
    )


def _holding(execution: ExecutionFacts, route: RouteFacts) -> Iterator[Cause]:
    reason = route.runtime.holding
    if reason is None:
        return
    if is_turn_reason(reason):
        yield Cause(
            code="handled_alone",
            sentence=f"route {route.name} waits: {told(reason)}",
            next="factflow execution list --status running",
            execution_id=execution.id,
            route=route.name,
        )
    else:
        yield holding_cause(execution, f"route {route.name}", reason, route.name)


def holding_cause(
    execution: ExecutionFacts, who: str, reason: str, route_id: str | None = None
) -> Cause:
    """Return the cause of what waits for storage or queue to work again."""
    return Cause(
        code="holding",
        sentence=f"{who} holds until trouble with storage or queue is over: {told(reason)}",
        next="factflow system health",
        execution_id=execution.id,
        route=route_id,
    )


def _next_attempt(execution: ExecutionFacts, route: RouteFacts) -> Iterator[Cause]:
    delayed, following = route.runtime.delayed, route.next_attempt
    if not delayed:
        return
    words = f"{counted(delayed, 'message waits', 'messages wait')} for another attempt"
    if following is not None:
        at = f" at {moment(following.at)}" if following.at else ""
        words += (
            f": attempt {following.attempt} of {route.attempts} at {route.name}/{following.stage}{at}, "
            f"after {error(following.error_type, following.error_message)}"
        )
    yield Cause(
        code="retry",
        sentence=words,
        next=f"factflow lineage list --execution {execution.name} --route {route.name}"
        " --status pending",
        until=following.at if following else None,
        execution_id=execution.id,
        route=route.name,
        stage=following.stage if following else None,
        message_id=following.message_id if following else None,
        count=delayed,
    )


def _gathering(execution: ExecutionFacts, route: RouteFacts) -> Iterator[Cause]:
    for stage, count in route.gathering.items():
        yield Cause(
            code="gathering",
            sentence=f"{counted(count, 'message waits', 'messages wait')} at {route.name}/{stage} "
            "for the batch to fill, or for its wait_ms to pass",
            next=f"factflow execution stats {execution.name}",
            execution_id=execution.id,
            route=route.name,
            stage=stage,
            count=count,
        )


def _in_work(execution: ExecutionFacts, route: RouteFacts) -> Iterator[Cause]:
    now = route.runtime
    working = now.in_flight - sum(route.gathering.values())
    if working <= 0:
        return
    busy = min(working, now.concurrency)
    words = f"{busy} of {now.concurrency} places of route {route.name} are in work"
    oldest = route.in_work[0] if route.in_work else None
    if oldest is not None:
        words += (
            f": the oldest message is at {route.name}/{oldest.stage} since {moment(oldest.since)}, "
            f"for {length(execution.now - oldest.since)}"
        )
    yield Cause(
        code="in_work",
        sentence=words,
        next=f"factflow why {oldest.message_id}"
        if oldest
        else f"factflow execution stats {execution.name}",
        since=oldest.since if oldest else None,
        execution_id=execution.id,
        route=route.name,
        stage=oldest.stage if oldest else None,
        message_id=oldest.message_id if oldest else None,
        count=now.in_flight,
    )


def _stall(execution: ExecutionFacts, route: RouteFacts) -> Iterator[Cause]:
    stall = execution.stall
    if stall is None or execution.now - stall.at > STALL_COUNTS_SECONDS:
        return
    stalled_route, _, stage = stall.stage.partition("/")
    if stalled_route == route.name:
        yield Cause(
            code="loop_stalled",
            sentence=f"{stall.stage} held the event loop for {length(stall.seconds)} and more, during "
            "which nothing else ran: make its `process` a plain def, which runs in a thread",
            next="factflow system health --debug",
            since=stall.at,
            execution_id=execution.id,
            route=route.name,
            stage=stage,
        )


def _idle(execution: ExecutionFacts, route: RouteFacts, above: frozenset[str]) -> Cause:
    if route.runtime.ready:
        words = f"route {route.name} is about to take its {counted(route.runtime.ready, 'message')}"
        before: list[str] = []
    else:
        words = f"route {route.name} has nothing to do: no message waits in {route.runtime.queue}"
        before = [
            name
            for name in route.upstream
            if name not in above and name in execution.routes and execution.routes[name].messages
        ]
    return Cause(
        code="idle",
        sentence=words,
        next=f"factflow execution routes {execution.name}",
        execution_id=execution.id,
        route=route.name,
        because=tuple(waiting_cause(execution, name, above) for name in before),
    )
